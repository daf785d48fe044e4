"""Connections beside the daemon: made between real peers of one network, and to nobody else; the daemon else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from swarm.network import direct as module
from swarm.network import near
from swarm.network.caps import Caps
from swarm.network.conversations import LENGTH
from swarm.network.direct import HANDLER, MOST_ARRIVALS, OFFER, OFFERS_PER_PEER, Direct
from swarm.network.host import Network
from swarm.network.pipe import Pipe
from swarm.network.sealed import SealedPipe
from swarm.network.serving import END
from swarm.network.streams import Channel, PeerError, RefusedError
from tests.swarm.network.conftest import Join
from tests.swarm.network.test_streams import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]
BULK = "round-bulk"


def taking(network: Network, *, direct: bool = True) -> list[tuple[str, bytes]]:
    """What comes to this peer's receiver."""
    taken: list[tuple[str, bytes]] = []

    async def take(peer_id: str, message: bytearray) -> None:
        taken.append((peer_id, bytes(message)))

    network.receive(BULK, take, limit_bytes=4 << 20, direct=direct)
    return taken


def opened(network: Network, to: Network) -> Channel:
    """As a lane does it: past the daemon where that is to be had."""

    async def either() -> Channel:
        found = await network.streams.open_direct(to.peer_id, BULK)
        return found or await network.streams.open(to.peer_id, BULK)

    return network.run(either(), 20.0)


def is_direct(channel: Channel) -> bool:
    return isinstance(channel._pipe, SealedPipe)


def direct_of(network: Network) -> Direct:
    direct = network.streams.direct
    assert direct is not None
    return direct


def asked(network: Network, of: Network, name: str = BULK) -> tuple[int, bytes]:
    port, key = OFFER.unpack(network.call(of.peer_id, HANDLER, name.encode()))
    return port, key


def test_bytes_come_in_order_and_counted_from_the_peer_that_sent_them(join: Join) -> None:
    first = join()
    second = join(first)
    taken = taking(first)
    channel = opened(second, first)
    assert is_direct(channel)
    messages = [bytes([index]) * size for index, size in enumerate([0, 1, 3 << 20, 70_000])]
    for message in messages:
        second.run(channel.send(message[:10], message[10:]), 10.0)
    second.run(channel.close(), 10.0)
    assert taken == [(second.peer_id, message) for message in messages]
    size = sum(map(len, messages)) + len(messages) * LENGTH.size
    assert second.traffic.total("sent", BULK) == first.traffic.total("received", BULK) == size
    assert (direct_of(second).opened, direct_of(first).accepted) == (1, 1)
    assert second.direct_peers() == first.direct_peers() == []  # it is closed
    channel = opened(second, first)
    assert second.direct_peers() == [first.peer_id]
    assert first.direct_peers() == []  # it is the other that sends
    channel.abort()
    assert not first.rejected()
    assert not second.rejected()


def test_whoever_does_not_want_it_is_reached_through_the_daemon(join: Join) -> None:
    willing = join()
    refusing, capped = join(willing, direct=False), join(willing, caps=Caps(download_mbit=500.0))
    everybody = (willing, refusing, capped)
    taken = {peer.peer_id: taking(peer) for peer in everybody}
    for one, other in ((willing, refusing), (refusing, willing), (willing, capped), (capped, willing)):
        channel = opened(one, other)
        assert not is_direct(channel)
        one.run(channel.send(b"through the daemon"), 10.0)
        one.run(channel.close(), 10.0)
    expected = (refusing.peer_id, b"through the daemon"), (capped.peer_id, b"through the daemon")
    assert taken[willing.peer_id] == list(expected)
    assert taken[refusing.peer_id] == taken[capped.peer_id] == [(willing.peer_id, b"through the daemon")]


def test_a_client_reaches_others_and_is_not_reached(join: Join) -> None:
    first = join()
    client = join(first, client=True)
    taken = [taking(peer) for peer in (first, client)]
    there, back = opened(client, first), opened(first, client)
    assert (is_direct(there), is_direct(back)) == (True, False)
    client.run(there.send(b"there"), 10.0)
    first.run(back.send(b"back"), 10.0)
    assert until(lambda: taken == [[(client.peer_id, b"there")], [(first.peer_id, b"back")]])


def test_a_port_that_a_firewall_keeps_shut_is_not_tried_again_at_once(join: Join) -> None:
    first = join()
    second = join(first)
    taking(first)
    assert is_direct(opened(second, first))
    listener = direct_of(first)._listener
    assert listener is not None
    listener.close()  # as if nothing came through
    direct_of(first)._listener = socket.socket()
    direct_of(first)._listener.bind(("127.0.0.1", 0))  # bound, and nobody listens
    began = time.monotonic()
    assert not is_direct(opened(second, first))
    assert time.monotonic() - began < 5.0
    before = first.traffic.total("received", HANDLER)
    assert not is_direct(opened(second, first))
    assert first.traffic.total("received", HANDLER) == before  # not even asked


def test_a_peer_that_reads_nothing_is_left_to_the_daemon(join: Join) -> None:
    first = join()
    second = join(first)
    busy = asyncio.Event()

    async def never(peer_id: str, message: bytearray) -> None:
        await busy.wait()

    first.receive(BULK, never, limit_bytes=64 << 20, direct=True)
    channel = opened(second, first)
    assert is_direct(channel)

    async def flood() -> None:
        for _ in range(100):
            await channel.send(bytes(4 << 20), timeout_seconds=0.5)

    with pytest.raises(PeerError, match="timeout"):
        second.run(flood(), 60.0)
    channel.abort()
    assert not is_direct(opened(second, first))


def test_the_end_of_a_peer_ends_its_streams_and_its_port(join: Join) -> None:
    first = join()
    second = join(first)
    taking(first)
    channel = opened(second, first)
    second.run(channel.send(b"x"), 10.0)
    listener = direct_of(first)._listener
    assert listener is not None
    port = listener.getsockname()[1]
    ended = asyncio.run_coroutine_threadsafe(channel.ended(), second._loop)
    first.close()
    ended.result(5.0)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0

    async def go_on() -> None:
        for _ in range(5):
            await channel.send(bytes(1 << 20), timeout_seconds=5.0)

    with pytest.raises(PeerError, match="closed"):
        second.run(go_on(), 30.0)


# --- strangers -------------------------------------------------------------------------------------------------------


def arrive(port: int, data: bytes) -> bytes:
    """What a stranger gets that connects and says this."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as stranger:
        stranger.settimeout(10.0)
        try:
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
            return stranger.recv(100)
        except OSError:
            return b""


def test_who_comes_without_a_ticket_gets_nothing_and_is_counted(join: Join) -> None:
    first = join()
    second = join(first)
    taken = taking(first)
    port, _ = asked(second, first)
    for size in (0, 3, 16, 100_000):
        assert arrive(port, b"?" * size) == b""
    assert until(lambda: first.rejected()["stranger"] == 4)
    assert not taken
    assert direct_of(first).accepted == 0


def test_a_ticket_is_good_once_and_for_a_while(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    first = join()
    second = join(first)
    taking(first)
    port, key = asked(second, first)
    assert arrive(port, module._ticket(key)) == b""
    assert until(lambda: direct_of(first).accepted == 1)
    assert arrive(port, module._ticket(key)) == b""
    assert until(lambda: first.rejected()["stranger"] == 1)
    monkeypatch.setattr(module, "OFFER_SECONDS", 0.0)
    port, key = asked(second, first)
    monkeypatch.setattr(module, "OFFER_SECONDS", 5.0)
    assert arrive(port, module._ticket(key)) == b""
    assert until(lambda: first.rejected()["stranger"] == 2)
    assert direct_of(first).accepted == 1


def test_noise_behind_a_ticket_ends_that_stream_only(join: Join) -> None:
    first = join()
    second = join(first)
    taken = taking(first)
    for noise in (b"?" * 1000, b"\xff" * 70_000, END, b"\0" * 50):
        port, key = asked(second, first)
        assert arrive(port, module._ticket(key) + noise) == b""
    assert until(lambda: direct_of(first).accepted == 4 and not first.streams.serving.open)
    channel = opened(second, first)
    second.run(channel.send(b"fine"), 10.0)
    second.run(channel.close(), 10.0)
    assert taken == [(second.peer_id, b"fine")]


def test_offers_and_arrivals_are_bounded(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    first = join()
    second = join(first)
    taking(first)
    port, _ = [asked(second, first) for _ in range(OFFERS_PER_PEER)][-1]
    with pytest.raises(PeerError, match="asked too often"):
        asked(second, first)
    waiting = [socket.create_connection(("127.0.0.1", port), 5.0) for _ in range(MOST_ARRIVALS)]
    assert until(lambda: direct_of(first)._arrivals == MOST_ARRIVALS)
    with socket.create_connection(("127.0.0.1", port), 5.0) as one_more:
        one_more.settimeout(5.0)
        assert one_more.recv(1) == b""  # closed at once
    for stranger in waiting:
        stranger.close()
    assert until(lambda: direct_of(first)._arrivals == 0)


def test_what_is_asked_for_must_be_offered(join: Join) -> None:
    first = join()
    second = join(first)
    taking(first)
    for name in ("round-control", "", "\xff", "a" * 64):
        with pytest.raises(PeerError, match="not to be had directly"):
            second.call(first.peer_id, HANDLER, name.encode())
    assert direct_of(first)._listener is None  # no port was opened for it


class Elsewhere:
    """A peer whose daemon says that it is connected to `peer` at `places`."""

    def __init__(self, *places: str, answer: bytes | Exception = b"", met_at: str = "") -> None:
        self.places, self.given, self.met_at, self.asks = places, answer, met_at, 0
        self.direct = Direct(self.connections, self.ask, self.serve, Counter())
        self.direct.names.add(BULK)
        self.direct.host = "127.0.0.1"

    async def connections(self) -> Sequence[tuple[str, str]]:
        return [("peer", place) for place in self.places] + [("other", "/ip4/127.0.0.1/tcp/4001")]

    async def ask(self, *_: object, **__: object) -> bytearray:
        self.asks += 1
        self.places = self.places or (self.met_at,)
        if isinstance(self.given, Exception):
            raise self.given
        return bytearray(self.given)

    async def serve(self, pipe: Pipe, name: str) -> None:
        raise AssertionError("nobody comes")


NOT_NEAR = [
    ("/ip4/8.8.8.8/tcp/4001",),
    ("/ip4/192.168.1.2/tcp/4001/p2p/QmRelay/p2p-circuit",),
    ("/ip6/2a00:1450:4001::8/tcp/4001",),
    ("/ip6/::ffff:8.8.8.8/tcp/4001",),
    ("/dns4/localhost/tcp/4001",),
    ("/ip4/999.1.1.1/tcp/4001",),
]


@pytest.mark.parametrize("places", NOT_NEAR, ids=str)
def test_peers_of_the_internet_are_neither_asked_nor_answered(places: tuple[str, ...]) -> None:
    async def go() -> None:
        here = Elsewhere(*places)
        assert await here.direct.open("peer", BULK) is None
        assert here.asks == 0
        with pytest.raises(RefusedError, match="same network"):
            await here.direct.answer("peer", bytearray(BULK.encode()))
        await here.direct.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    "place",
    [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/10.0.0.9/tcp/1",
        "/ip4/192.168.1.2/tcp/1",
        "/ip4/100.64.0.1/tcp/1",
        "/ip6/::1/tcp/1",
        "/ip6/::ffff:10.0.0.9/tcp/1",
    ],
)
def test_peers_of_one_machine_local_network_or_overlay_are(place: str) -> None:
    async def go() -> None:
        here = Elsewhere("/ip4/8.8.8.8/tcp/4001", place)
        assert len(await here.direct.answer("peer", bytearray(BULK.encode()))) == OFFER.size
        await here.direct.close()

    asyncio.run(go())


def test_a_peer_that_the_daemon_has_not_met_is_met_by_asking() -> None:
    """Who is in a roster may be somebody that nothing was said to yet; where it is, shows when it has answered."""

    async def go(place: str) -> tuple[bool, int]:
        with socket.socket() as there:
            there.bind(("127.0.0.1", 0))
            there.listen()
            here = Elsewhere(answer=OFFER.pack(there.getsockname()[1], bytes(32)), met_at=place)
            pipe = await here.direct.open("peer", BULK)
            if pipe is not None:
                pipe.close()
            return pipe is not None, here.asks

    assert asyncio.run(go("/ip4/127.0.0.1/tcp/4001")) == (True, 1)
    assert asyncio.run(go("/ip4/8.8.8.8/tcp/4001")) == (False, 1)


@pytest.mark.parametrize("cause", ["unreachable", "closed"])
def test_a_peer_that_is_away_may_be_asked_as_soon_as_it_is_back(cause: str) -> None:
    async def go() -> None:
        here = Elsewhere("/ip4/127.0.0.1/tcp/4001", answer=PeerError("peer", cause, ""))  # type: ignore[arg-type]
        assert await here.direct.open("peer", BULK) is None
        assert await here.direct.open("peer", BULK) is None
        assert here.asks == 2

    asyncio.run(go())


@pytest.mark.parametrize(
    "answer",
    [b"", b"?" * 33, b"?" * 35, OFFER.pack(0, bytes(32)), OFFER.pack(22, bytes(32)), PeerError("peer", "refused", "")],
    ids=["empty", "short", "long", "port 0", "port 22", "refusal"],
)
def test_an_answer_that_is_none_leaves_the_peer_to_the_daemon(answer: bytes | Exception) -> None:
    async def go() -> None:
        here = Elsewhere("/ip4/127.0.0.1/tcp/4001", answer=answer)
        assert await here.direct.open("peer", BULK) is None
        assert await here.direct.open("peer", BULK) is None
        assert here.asks == 1  # not again for a while
        await here.direct.close()

    asyncio.run(go())


def test_a_firewall_that_drops_what_comes_costs_a_moment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        with socket.create_connection(
            place
        ):  # there is room for one that nobody has taken up; of more, nothing is heard

            async def go() -> tuple[float, int]:
                here = Elsewhere("/ip4/127.0.0.1/tcp/4001", answer=OFFER.pack(place[1], bytes(32)))
                began = time.monotonic()
                for _ in range(3):
                    assert await here.direct.open("peer", BULK) is None
                return time.monotonic() - began, here.asks

            seconds, asks = asyncio.run(go())
            assert seconds > 0.25, "something answered"
            assert asks == 1


def test_what_is_said_to_a_port_first_cannot_be_chosen_by_who_names_it() -> None:
    """Else a peer could make others say its words to a program on its own machine or behind its own address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(5.0)
        key = b"\r\nFLUSHALL\r\n".ljust(32)

        async def go() -> bool:
            here = Elsewhere("/ip4/127.0.0.1/tcp/4001", answer=OFFER.pack(other.getsockname()[1], key))
            pipe = await here.direct.open("peer", BULK)
            assert pipe is not None
            pipe.close()
            return True

        assert asyncio.run(go())
        with other.accept()[0] as heard:
            heard.settimeout(5.0)
            said = heard.recv(1000)
    assert said == module._ticket(key)
    assert b"FLUSHALL" not in said


def test_it_listens_where_the_daemon_does() -> None:
    assert near.listening_host(["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"]) == "0.0.0.0"
    assert near.listening_host(["/dns4/example.org/tcp/4001", "/ip6/::1/tcp/4001"]) == "::1"
    assert near.listening_host([]) is None
