"""Which spans come from whom, and where their bytes go: scripted donors, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from swarm.digest import content_digest
from swarm.errors import NetworkError
from swarm.network import download as module
from swarm.network.download import Download, cut
from swarm.network.failure import PeerError

SPANS, SIZE = 6, 1000
STATE = [bytes([65 + span]) * SIZE for span in range(SPANS)]
DIGESTS = [content_digest(span) for span in STATE]


class Swarm:
    """Donors by name: honest, `liar`, `slow` (a tenth of a span, then nothing for a long time), `dead`."""

    def __init__(self, *, in_place: bool = True) -> None:
        self.memory = [bytearray(SIZE) for _ in range(SPANS)]
        self.kept: list[int] = []
        self.asked: list[tuple[str, int]] = []
        self.late: list[memoryview] = []
        self.download = Download(
            DIGESTS,
            [SIZE] * SPANS,
            missing=range(SPANS),
            ask=self.ask,
            keep=self.keep,
            place=self.place if in_place else None,
        )

    def place(self, span: int) -> list[memoryview]:
        """In two parts, as a state's vectors are."""
        whole = memoryview(self.memory[span])
        return [whole[:300], whole[300:]]

    def keep(self, span: int, memory: Sequence[memoryview]) -> None:
        assert b"".join(memory) == STATE[span]
        self.kept.append(span)
        if self.download.place is None:
            self.memory[span][:] = b"".join(memory)

    async def ask(self, donor: str, span: int, offset: int, memory: Sequence[memoryview], seconds: float) -> None:
        self.asked.append((donor, span))
        await asyncio.sleep(0.001)
        if donor == "dead":
            raise PeerError(donor, "unreachable", "is gone")
        done = offset
        for part in memory:
            part[:] = STATE[span][done : done + len(part)] if donor != "liar" else b"!" * len(part)
            if donor == "slow":
                part[:] = b"?" * len(part)
                self.late.append(part)
                await asyncio.sleep(30)
            done += len(part)

    def run(self, *donors: str) -> None:
        asyncio.run(asyncio.wait_for(self.download.run(donors, lambda size, active: None), 20))


@pytest.mark.parametrize("in_place", [True, False])
def test_every_span_comes_once_and_is_right(in_place: bool) -> None:
    swarm = Swarm(in_place=in_place)
    swarm.run("a", "b")
    assert [bytes(span) for span in swarm.memory] == STATE
    assert sorted(swarm.kept) == list(range(SPANS))
    assert not swarm.download.given_up


def test_a_span_of_many_pieces_is_hashed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PIECE_BYTES", "LEAST_PIECE_BYTES", "PIECE_BYTES"):
        monkeypatch.setattr(module, name, 77)
    monkeypatch.setattr(module.Donor, "__init__", _with_pieces_of(77))
    swarm = Swarm()
    swarm.run("a")
    assert len(swarm.asked) == SPANS * -(-SIZE // 77)
    assert [bytes(span) for span in swarm.memory] == STATE


def _with_pieces_of(size: int) -> object:
    first = module.Donor.__init__

    def make(self: module.Donor, name: str) -> None:
        first(self, name, size)

    return make


def test_who_lies_or_is_dead_is_given_up_and_another_takes_its_spans() -> None:
    swarm = Swarm()
    swarm.run("liar", "dead", "a")
    assert [bytes(span) for span in swarm.memory] == STATE
    assert {name: reason for name, (reason, _) in swarm.download.given_up.items()} == {
        "liar": "digest",
        "dead": "unreachable",
    }


def test_without_a_sound_donor_it_fails_in_one_line() -> None:
    swarm = Swarm()
    with pytest.raises(NetworkError, match=r"6 of 6 spans could not be fetched \(.*those that came are kept"):
        swarm.run("liar", "dead")
    assert not swarm.kept


def test_who_is_taken_over_from_does_not_write_into_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was writing to the span's place; the one that takes over comes beside it, and is put there in the end."""
    monkeypatch.setattr(module, "TAKE_OVER_SECONDS", 0.05)
    swarm = Swarm()
    swarm.run("slow", "a")
    assert swarm.late, "it had spans under way"
    assert [bytes(span) for span in swarm.memory] == STATE
    assert swarm.download.given_up["slow"][0] in ("slow", "stalled")
    assert sorted(swarm.kept) == list(range(SPANS))


def test_bytes_are_cut_from_memory_in_parts() -> None:
    parts = [memoryview(b"abc"), memoryview(b""), memoryview(b"defgh")]
    assert [bytes(part) for part in cut(parts, 0, 8)] == [b"abc", b"defgh"]
    assert [bytes(part) for part in cut(parts, 2, 3)] == [b"c", b"de"]
    assert [bytes(part) for part in cut(parts, 3, 2)] == [b"de"]
    assert [bytes(part) for part in cut(parts, 7, 5)] == [b"h"]
    assert [bytes(part) for part in cut(parts, 8, 5)] == []
