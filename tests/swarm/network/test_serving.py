"""What strangers may do to a peer that serves them: the real serving on socket pairs, without a daemon."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from swarm.network import serving as module
from swarm.network.allowance import Allowance
from swarm.network.caps import Caps
from swarm.network.conversations import ANSWER, LENGTH, OK
from swarm.network.pipe import Buffer, Listener, Pipe
from swarm.network.room import Room
from swarm.network.serving import END, REFUSED, Handler, Receiver, Service, Serving, most_streams
from swarm.network.traffic import Traffic

BIG = 4 << 20  # more than the sockets' buffers take


async def echo(peer_id: str, request: bytearray) -> Buffer:
    return bytes(request)


async def give_much(peer_id: str, request: bytearray) -> Buffer:
    return bytes(BIG)


def service(handler: Handler | None = echo, receiver: Receiver | None = None, **more: object) -> Service:
    return Service(handler, receiver, **({"limit_bytes": 100, "purpose": "test"} | more))  # type: ignore[arg-type]


class Stranger:
    """One stream to `serving`: the end that the stranger holds, and what becomes of the other."""

    def __init__(self, serving: Serving, what: Service, name: str = "stranger", caps: Caps | None = None) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self.pipe, inner = Pipe(ours), Pipe(theirs, name)
        inner.caps = caps or inner.caps
        self.served = asyncio.ensure_future(self._serve(serving, inner, what))

    async def _serve(self, serving: Serving, pipe: Pipe, what: Service) -> None:
        try:
            await serving.serve(pipe, what)
        except (EOFError, OSError):
            return
        finally:
            pipe.close()

    async def ask(self, request: bytes = b"") -> tuple[int, bytes]:
        await self.pipe.write(LENGTH.pack(len(request)), request)
        status, length = ANSWER.unpack(await self.pipe.read(ANSWER.size))
        return status, bytes(await self.pipe.read(length))


def play(scene: Callable[[Serving], Awaitable[None]]) -> Serving:
    """Within a second: nobody who misbehaves is waited for."""

    async def within() -> Serving:
        serving = Serving(Traffic())
        async with asyncio.timeout(1.0):
            await scene(serving)
        assert not serving.open
        assert (serving.inbound.held, serving.outbound.held) == (0, 0)
        assert not serving.inbound.by_peer
        assert not serving.outbound.by_peer
        return serving

    return asyncio.run(within())


def test_who_reads_nothing_is_given_up_and_its_answer_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(module, "SLOWEST_BYTES_PER_SECOND", 1e9)

    async def scene(serving: Serving) -> None:
        deaf = Stranger(serving, service(give_much))
        await deaf.pipe.write(LENGTH.pack(0))
        await deaf.served

    assert play(scene).rejected == {"stalled": 1}


def test_who_reads_slowly_but_reads_is_served_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.15)
    monkeypatch.setattr(module, "SLOWEST_BYTES_PER_SECOND", 1e9)

    async def scene(serving: Serving) -> None:
        slow = Stranger(serving, service(give_much))
        await slow.pipe.write(LENGTH.pack(0))
        assert ANSWER.unpack(await slow.pipe.read(ANSWER.size)) == (OK, BIG)
        for _ in range(8):
            await asyncio.sleep(0.04)
            await slow.pipe.read(BIG // 8)
        slow.pipe.close()
        await slow.served

    assert not play(scene).rejected


@pytest.mark.parametrize("sent", [b"", b"\0", LENGTH.pack(50), LENGTH.pack(50) + bytes(49)])
def test_who_sends_a_part_and_stops_is_given_up(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.05)

    async def scene(serving: Serving) -> None:
        silent = Stranger(serving, service())
        await silent.pipe.write(sent)
        await silent.served

    assert play(scene).rejected == {"stalled": 1}


@pytest.mark.parametrize("sent", [LENGTH.pack(101), END, b"GET / HTTP/1.1\r\n\r\n"])
def test_a_request_that_is_too_long_is_not_read(sent: bytes) -> None:
    async def scene(serving: Serving) -> None:
        rude = Stranger(serving, service())
        await rude.pipe.write(sent)
        await rude.served

    assert play(scene).rejected == {"size": 1}


def test_one_stranger_never_takes_all_the_room_there_is() -> None:
    room = Room(total=100, each=30)
    with room.holding("greedy", 20):
        assert room.fits("greedy", 10)
        assert not room.fits("greedy", 11)
        assert room.fits("another", 80), "a single message may be larger than a peer's part"
        assert not room.fits("another", 81)
    assert room.fits("greedy", 100)


def test_answers_that_nobody_reads_leave_room_for_who_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(serving: Serving) -> None:
        serving.outbound = Room(total=4 * BIG, each=BIG)
        deaf = [Stranger(serving, service(give_much), "deaf") for _ in range(4)]
        for each in deaf:
            await each.pipe.write(LENGTH.pack(0))
        while serving.rejected["busy"] < 3:
            await asyncio.sleep(0.005)
        other = Stranger(serving, service(give_much), "another")
        assert await other.ask() == (OK, bytes(BIG))
        for each in (*deaf, other):
            each.pipe.close()
            await each.served

    assert play(scene).rejected == {"busy": 3}


def test_where_all_streams_are_taken_who_has_most_loses_its_oldest() -> None:
    async def scene(serving: Serving) -> None:
        serving.most = 4
        greedy = [Stranger(serving, service(), "greedy") for _ in range(3)]
        quiet = Stranger(serving, service(), "quiet")
        await asyncio.sleep(0)
        other = Stranger(serving, service(), "other")
        assert await other.ask(b"me") == (OK, b"me")
        assert await quiet.ask(b"still here") == (OK, b"still here")
        assert await greedy[1].ask(b"too") == (OK, b"too")
        with pytest.raises(EOFError):
            await greedy[0].pipe.read(1)
        for each in (*greedy, quiet, other):
            each.pipe.close()
        await asyncio.gather(*(each.served for each in (*greedy, quiet, other)), return_exceptions=True)

    assert play(scene).rejected == {"streams": 1}


@pytest.mark.parametrize(("files", "most"), [(1024, 512), (32, 64), (resource.RLIM_INFINITY, sys.maxsize)])
def test_streams_take_a_part_of_the_files_that_may_be_open(files: int, most: int) -> None:
    assert most_streams(files) == most


def test_what_may_not_be_given_is_not_made() -> None:
    made = 0

    async def costly(peer_id: str, request: bytearray) -> Buffer:
        nonlocal made
        made += 1
        return bytes(10)

    async def scene(serving: Serving) -> None:
        what = service(costly, allowance=Allowance(each=30, total=50, seconds=60.0, least=5))
        greedy, other = Stranger(serving, what, "greedy"), Stranger(serving, what, "other")
        answers = [await greedy.ask() for _ in range(5)]
        assert [status for status, _ in answers] == [OK] * 3 + [REFUSED] * 2
        assert answers[-1][1] == b"so much was given already; ask another peer"
        assert made == 3
        assert [(await other.ask())[0] for _ in range(3)] == [OK, OK, REFUSED], "in all there is no more"
        for each in (greedy, other):
            each.pipe.close()
            await each.served

    assert play(scene).rejected == {"flood": 3}


def test_a_bug_that_strangers_can_repeat_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(peer_id: str, message: bytearray) -> bytes:
        raise KeyError("a bug of ours")

    async def scene(serving: Serving) -> None:
        asking, telling = service(broken), service(None, broken, purpose="channel")
        for _ in range(5):
            asker, teller = Stranger(serving, asking), Stranger(serving, telling)
            assert await asker.ask() == (REFUSED, b"the handler failed")
            await teller.pipe.write(LENGTH.pack(1), b"x")
            with pytest.raises(EOFError):
                await teller.pipe.read(1)
            asker.pipe.close()
            await asyncio.gather(asker.served, teller.served)

    assert play(scene).rejected == {"failed": 10}
    assert len(caplog.records) == 2


def test_a_moment_without_files_ends_no_listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may open streams until this process has no file left for the next one."""
    monkeypatch.setattr("swarm.network.pipe.ACCEPT_SECONDS", 0.01)

    async def scene() -> None:
        came, loop = asyncio.Event(), asyncio.get_running_loop()
        accept, failures = loop.sock_accept, [errno.EMFILE, errno.ENFILE]

        async def accept_later(sock: socket.socket) -> tuple[socket.socket, object]:
            if failures:
                raise OSError(failures.pop(), "too many open files")
            return await accept(sock)

        async def welcome(self: Listener, pipe: Pipe) -> None:
            pipe.close()
            came.set()

        monkeypatch.setattr(loop, "sock_accept", accept_later)
        monkeypatch.setattr(Listener, "_welcome", welcome)
        path = str(tmp_path / "streams.sock")
        listener = Listener("", path, accept=lambda pipe, protocol: asyncio.sleep(0))
        listener.start()
        pipe = await Pipe.connect(path)
        async with asyncio.timeout(1.0):
            await came.wait()
        pipe.close()
        await listener.close()

    asyncio.run(scene())
