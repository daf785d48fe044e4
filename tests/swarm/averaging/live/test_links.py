"""What waits for a peer that does not read is bounded, in messages and in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from swarm.averaging.live import links as module
from swarm.averaging.live.links import Links
from swarm.network.streams import Channel, PeerError


class Nowhere:
    """Streams that never open."""

    async def open(self, peer_id: str, name: str, *, purpose: str | None = None) -> Channel:
        await asyncio.Event().wait()
        raise AssertionError

    async def open_direct(self, peer_id: str, name: str, *, purpose: str | None = None) -> Channel | None:
        raise AssertionError("nothing was opened yet")


def sent(script: Callable[[Links], None]) -> Links:
    async def play() -> Links:
        links = Links(Nowhere(), lambda peer: None, bulk_limit=4)
        script(links)
        await links.close()
        return links

    return asyncio.run(play())


def test_a_peer_that_reads_nothing_is_sent_no_page_of_the_log() -> None:
    def script(links: Links) -> None:
        assert links.takes("stranger")
        for _ in range(module.QUEUED_PAGES):
            links.send("stranger", b"commit")
        assert not links.takes("stranger")
        assert links.takes("another")

    assert sent(script).dropped == 0


def test_bytes_that_wait_for_one_peer_are_bounded_and_others_do_not_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED_CONTROL_BYTES", 1000)

    def script(links: Links) -> None:
        links.send("deaf", bytes(1500))  # a single message may be larger
        links.send("deaf", bytes(10))
        assert links.dropped == 1
        for _ in range(12):
            links.send("another", bytes(100))
        assert links.dropped == 3
        assert links.lanes["another", "round-control"].waiting_bytes == 1000

    sent(script)


class Line:
    """A channel that tells what came through it and when it was closed."""

    def __init__(self, name: str, told: list[tuple[str, object]], breaks: bool = False) -> None:
        self.name, self.told, self.breaks, self.gone = name, told, breaks, asyncio.Event()

    async def send(self, *parts: bytes, timeout_seconds: float = 60.0) -> None:
        self.told.append((self.name, bytes(parts[-1])))

    async def close(self, timeout_seconds: float = 5.0) -> None:
        self.told.append((self.name, "closed"))
        if self.breaks:
            raise PeerError("peer", "closed", "it did not arrive")

    async def ended(self) -> None:
        await self.gone.wait()

    def abort(self) -> None:
        self.told.append((self.name, "aborted"))


class Both:
    """Streams through the daemon, and past it once `may` is set."""

    def __init__(self, breaks: bool = False) -> None:
        self.told: list[tuple[str, object]] = []
        self.may, self.breaks, self.looks = asyncio.Event(), breaks, 0

    async def open(self, peer_id: str, name: str, *, purpose: str | None = None) -> Line:
        return Line("daemon" if name == "round-bulk" else "control", self.told, self.breaks)

    async def open_direct(self, peer_id: str, name: str, *, purpose: str | None = None) -> Line | None:
        assert name == "round-bulk"
        self.looks += 1
        await self.may.wait()
        return Line("direct", self.told)


def changed(*, breaks: bool = False) -> tuple[Both, list[str]]:
    """A vote and two parts before there is a way past the daemon, and two parts after."""
    lost: list[str] = []

    async def play() -> Both:
        both = Both(breaks)
        links = Links(both, lost.append, bulk_limit=8)  # type: ignore[arg-type]

        async def drained() -> None:
            async with asyncio.timeout(5):
                while any(lane.queue for lane in links.lanes.values()):
                    await asyncio.sleep(0)

        async def give(*names: bytes) -> None:
            for name in names:

                async def payload(name: bytes = name) -> bytes:
                    return name

                links.send("peer", b"part", (name, payload))
            await drained()

        links.send("peer", b"vote")
        await give(b"1", b"2")
        both.may.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await give(b"3", b"4")
        await links.close()
        return both

    return asyncio.run(play()), lost


def test_megabytes_pass_the_daemon_when_what_was_sent_before_has_arrived_and_votes_do_not() -> None:
    both, lost = changed()
    told = [each for each in both.told if each[0] != "control"]
    assert told == [
        ("daemon", b"1"),
        ("daemon", b"2"),
        ("daemon", "closed"),
        ("direct", b"3"),
        ("direct", b"4"),
        ("direct", "aborted"),
    ]
    assert both.looks == 1
    assert not lost


def test_what_did_not_arrive_before_the_change_is_lost_and_said() -> None:
    both, lost = changed(breaks=True)
    assert lost == ["peer"]
    assert ("direct", "aborted") in both.told
    assert ("direct", b"3") not in both.told


def test_a_way_that_is_found_too_late_is_closed() -> None:
    async def play() -> list[tuple[str, object]]:
        both = Both()
        links = Links(both, lambda peer: None, bulk_limit=8)  # type: ignore[arg-type]

        async def payload() -> bytes:
            return b"1"

        links.send("peer", b"part", ("1", payload))
        while not both.looks:
            await asyncio.sleep(0)
        both.may.set()
        for _ in range(3):
            await asyncio.sleep(0)
        await links.close()
        await asyncio.sleep(0)
        return both.told

    assert ("direct", "aborted") in asyncio.run(play())
