"""Requests and channels between real peers, and what a stranger may try on them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from swarm.network.caps import Caps
from swarm.network.conversations import LENGTH
from swarm.network.host import Network
from swarm.network.pipe import Pipe, open_stream
from swarm.network.serving import STREAMS_PER_PEER
from swarm.network.streams import PeerError, RefusedError
from tests.swarm.network.conftest import RUN, Join

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]
PREFIX = f"/bloomswarm/{RUN}/"


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True


async def echo(peer_id: str, request: bytearray) -> bytes:
    return bytes(request)


async def raw(network: Network, to: Network, name: str) -> Pipe:
    return await open_stream(network._engine.daemon.control, to.peer_id, PREFIX + name)


@pytest.mark.parametrize("size", [0, 1, 65_537, 3 << 20])
def test_an_answer_is_what_was_asked_whatever_its_size(join: Join, size: int) -> None:
    first = join()
    first.handle("echo", echo, limit_bytes=4 << 20)
    request = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert join(first).call(first.peer_id, "echo", request, limit_bytes=4 << 20) == request


def test_failures_are_told_apart(join: Join) -> None:
    first = join()
    second = join(first)

    async def refuse(peer_id: str, request: bytearray) -> bytes:
        raise RefusedError("not today")

    async def never(peer_id: str, request: bytearray) -> bytes:
        await asyncio.Event().wait()
        return b""

    first.handle("echo", echo, limit_bytes=1000)
    first.handle("refuse", refuse, limit_bytes=10)
    first.handle("never", never, limit_bytes=10)
    expected = {"refuse": "refused", "never": "timeout", "nothing": "unreachable"}
    for name, cause in expected.items():
        with pytest.raises(PeerError) as caught:
            second.call(first.peer_id, name, b"", timeout_seconds=1)
        assert caught.value.cause == cause, name
    with pytest.raises(PeerError, match="not today"):
        second.call(first.peer_id, "refuse", b"")
    with pytest.raises(PeerError) as caught:
        second.call(first.peer_id, "echo", bytes(900), limit_bytes=100)
    assert caught.value.cause == "too-large"


def test_a_request_over_its_limit_is_dropped_unread_and_counted(join: Join) -> None:
    first = join()
    second = join(first)
    first.handle("echo", echo, limit_bytes=1000)
    with pytest.raises(PeerError) as caught:
        second.call(first.peer_id, "echo", bytes(1001))
    assert caught.value.cause == "closed"
    assert first.rejected()["size"] == 1
    assert second.call(first.peer_id, "echo", b"still here") == b"still here"


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\xff\xff\xff\xffxxxx", LENGTH.pack(1 << 30) + bytes(100)])
def test_a_frame_that_claims_gigabytes_takes_no_memory(join: Join, garbage: bytes) -> None:
    first = join()
    second = join(first)
    first.handle("echo", echo, limit_bytes=1000)

    async def send() -> bytes:
        pipe = await raw(second, first, "echo")
        try:
            await pipe.write(garbage)
            return bytes(await pipe.read(1))
        finally:
            pipe.close()

    with pytest.raises((EOFError, ConnectionError)):
        second._do(send(), 10)
    assert first.rejected()["size"] == 1
    assert first.streams.serving.inbound.held == 0


def test_a_stalled_sender_is_given_up_and_blocks_nobody(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.network.serving.STALL_SECONDS", 0.5)
    first = join()
    second = join(first)
    first.handle("echo", echo, limit_bytes=1000)

    async def half() -> Pipe:
        pipe = await raw(second, first, "echo")
        await pipe.write(LENGTH.pack(100) + b"half")
        return pipe

    pipe = second._do(half(), 10)
    assert second.call(first.peer_id, "echo", b"another") == b"another"
    assert until(lambda: first.rejected()["stalled"] == 1)
    assert first.streams.serving.inbound.held == 0
    second._do(asyncio.to_thread(pipe.close), 5)


def test_a_flood_of_streams_is_cut_and_others_are_served(join: Join) -> None:
    first = join()
    flooder, third = join(first), join(first)
    first.handle("echo", echo, limit_bytes=1000)

    async def flood() -> list[Pipe]:
        return [await raw(flooder, first, "echo") for _ in range(STREAMS_PER_PEER + 20)]

    pipes = flooder._do(flood(), 30)
    assert until(lambda: first.rejected()["streams"] == 20)
    assert len(first.streams.serving.open[flooder.peer_id]) == STREAMS_PER_PEER
    assert third.call(first.peer_id, "echo", b"me") == b"me"
    for pipe in pipes:
        flooder._loop.call_soon_threadsafe(pipe.close)
    assert until(lambda: flooder.peer_id not in first.streams.serving.open)
    assert flooder.call(first.peer_id, "echo", b"again") == b"again"


def test_messages_of_a_channel_come_in_order_and_close_waits_for_the_last(join: Join) -> None:
    first = join()
    second = join(first)
    got: list[bytes] = []

    async def take(peer_id: str, message: bytearray) -> None:
        got.append(bytes(message))

    first.receive("news", take, limit_bytes=100)
    channel = second.open(first.peer_id, "news")

    async def send() -> None:
        for index in range(50):
            await channel.send(b"%d" % index, b"!")
        await channel.close()

    second.run(send(), 20)  # no waiting here: `close` says that all were taken
    assert got == [b"%d!" % index for index in range(50)]


def test_a_handler_that_fails_answers_and_the_next_request_is_served(
    join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    first = join()

    async def broken(peer_id: str, request: bytearray) -> bytes:
        raise KeyError("a bug of ours")

    first.handle("broken", broken, limit_bytes=10)
    first.handle("echo", echo, limit_bytes=10)
    second = join(first)
    with pytest.raises(PeerError, match="the handler failed"):
        second.call(first.peer_id, "broken", b"")
    assert "a bug of ours" in caplog.text
    assert second.call(first.peer_id, "echo", b"on") == b"on"


def test_peers_of_another_run_share_no_stream(join: Join) -> None:
    first = join()
    first.handle("echo", echo, limit_bytes=10)
    other = join(run="f" * 64)
    other.meet(first.addresses())
    with pytest.raises(PeerError, match="does not serve this run"):
        other.call(first.peer_id, "echo", b"")


def test_a_cap_holds_for_bulk_over_all_streams_and_lets_small_messages_pass(join: Join) -> None:
    megabits, size = 40.0, 1_000_000
    first = join(caps=Caps(upload_mbit=megabits))

    async def give(peer_id: str, request: bytearray) -> bytes:
        return bytes(size if request == b"bulk" else 10)

    first.handle("give", give, limit_bytes=10)
    second = join(first)

    async def both() -> tuple[float, float]:
        began = time.monotonic()

        async def ask(what: bytes) -> float:
            await second.streams.call(first.peer_id, "give", what, timeout_seconds=20, limit_bytes=size)
            return time.monotonic() - began

        *bulk, small = await asyncio.gather(ask(b"bulk"), ask(b"bulk"), ask(b"small"))
        return max(bulk), small

    bulk, small = second.run(both(), 30)
    assert 0.8 * 2 * size * 8e-6 / megabits < bulk < 2.5 * 2 * size * 8e-6 / megabits
    assert small < bulk / 2


def test_a_download_cap_slows_what_we_take(join: Join) -> None:
    first = join()
    first.handle("echo", echo, limit_bytes=1 << 20)
    second = join(first, caps=Caps(download_mbit=20.0))
    began = time.monotonic()
    assert len(second.call(first.peer_id, "echo", bytes(1 << 20), timeout_seconds=20)) == 1 << 20
    assert time.monotonic() - began > 0.85 * (1 << 20) * 8e-6 / 20.0  # the bucket lends 50 ms
