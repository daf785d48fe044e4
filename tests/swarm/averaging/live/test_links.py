"""What waits for a peer that does not read is bounded, in messages and in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from swarm.averaging.live import links as module
from swarm.averaging.live.links import Links
from swarm.network.streams import Channel


class Nowhere:
    """Streams that never open, and which of them may do without the daemon."""

    def __init__(self) -> None:
        self.direct: dict[str, bool] = {}

    async def open(self, peer_id: str, name: str, *, purpose: str | None = None, direct: bool = False) -> Channel:
        self.direct[name] = direct
        await asyncio.Event().wait()
        raise AssertionError


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


def test_megabytes_may_go_past_the_daemon_and_votes_do_not() -> None:
    async def payload() -> bytes:
        return bytes(100)

    async def play() -> dict[str, bool]:
        nowhere = Nowhere()
        links = Links(nowhere, lambda peer: None, bulk_limit=4)
        links.send("peer", b"vote")
        links.send("peer", b"part", ("part", payload))
        async with asyncio.timeout(5):
            while len(nowhere.direct) < 2:
                await asyncio.sleep(0)
        await links.close()
        return nowhere.direct

    assert asyncio.run(play()) == {"round-control": False, "round-bulk": True}
