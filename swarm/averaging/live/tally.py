"""When a round is due: what every peer has accumulated, told a few times a second, added up by each for itself.

The batch is full when all peers' samples at their next micro-batch boundary make it full: a call reaches peers in the
middle of a micro-batch, which they finish first. Nothing here is trusted: a claim is capped by the batch, and calling
a round too early or too late costs a small batch or a little time, never a wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import msgpack

from swarm.averaging.round.messages import DIGEST

TELL_SECONDS = 0.2  # between two tellings of something new
FRESH_SECONDS = 15.0  # a peer that has told nothing for so long is not counted
MAX_SAMPLES = 2**31
MAX_PEERS = 1024
WAIT_SHARE = 0.1  # of the time that a batch takes


@dataclass(frozen=True)
class Told:
    """One peer's own words: samples on `base` `age` seconds ago, samples of a micro-batch, samples a second."""

    base: bytes
    round: int
    samples: int
    micro: int
    rate: float
    age: float = 0.0

    def to_bytes(self) -> bytes:
        return bytes(msgpack.packb([self.base, self.round, self.samples, self.micro, self.rate, self.age]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Told:
        """ValueError for anything malformed or out of bounds."""
        try:
            base, round_, samples, micro, rate, age = msgpack.unpackb(data, max_ext_len=0, max_map_len=0)
        except (ValueError, TypeError, msgpack.exceptions.UnpackException):
            raise ValueError("not a tally") from None
        whole = [type(number) is int and 0 <= number < MAX_SAMPLES for number in (samples, micro)]
        place = type(base) is bytes and len(base) == DIGEST and type(round_) is int and 0 <= round_ < 2**53
        real = [type(number) is float and 0 <= number < MAX_SAMPLES for number in (rate, age)]
        if not all(whole) or not all(real) or not place:
            raise ValueError("not a tally")
        return cls(base, round_, samples, micro, rate, age)

    def expected(self, elapsed: float) -> float:
        """Samples at the first boundary after `elapsed` seconds from when this was told.

        Never more than could have been finished between two tellings: a peer that says nothing new has become slow, and
        to believe in its old rate would call rounds with a fraction of the batch.
        """
        if self.micro == 0:
            return self.samples
        unheard = min(elapsed + self.age, TELL_SECONDS)
        return self.samples + self.micro * (1 + math.floor(unheard * self.rate / self.micro))

    def left(self, elapsed: float) -> float:
        """Seconds to that boundary; 0 where nothing is known of the peer's speed."""
        if self.micro == 0 or self.rate <= 0:
            return 0.0
        each = self.micro / self.rate
        return each - (elapsed + self.age) % each


def worth_waiting(told: Iterable[tuple[float, Told]], batch: int) -> float:
    """Seconds until the last micro-batch ends that is worth waiting for. told: (seconds since, what), of all who train.

    To go without a peer costs its samples, to wait for it what all could compute meanwhile. What it says is only its
    word: nobody is waited for longer than `WAIT_SHARE` of the time that the batch takes.
    """
    words = list(told)
    rate = math.fsum(one.rate for _, one in words)
    if rate <= 0:
        return 0.0
    lefts = [(one.left(elapsed), min(one.samples, WAIT_SHARE * batch) / rate) for elapsed, one in words]
    return max((left for left, worth in lefts if left <= worth), default=0.0)


class Tally:
    def __init__(self) -> None:
        self.told: dict[str, tuple[float, Told]] = {}

    def hear(self, now: float, peer: str, told: Told) -> None:
        if peer not in self.told and len(self.told) >= MAX_PEERS:
            self.told = {name: item for name, item in self.told.items() if now - item[0] < FRESH_SECONDS}
            if len(self.told) >= MAX_PEERS:
                return
        self.told[peer] = (now, told)

    def on(self, now: float, base: bytes) -> dict[str, tuple[float, Told]]:
        """What peers that build on `base` have told lately: (when, what)."""
        return {
            peer: item for peer, item in self.told.items() if item[1].base == base and now - item[0] < FRESH_SECONDS
        }

    def fresh(self, now: float) -> set[str]:
        """Who has told anything lately."""
        return {peer for peer, (when, _) in self.told.items() if now - when < FRESH_SECONDS}

    def samples(self, now: float, base: bytes, cap: int) -> float:
        """What the peers on `base` will have together at their next boundaries, none counted above `cap`."""
        return math.fsum(min(told.expected(now - when), cap) for when, told in self.on(now, base).values())

    def ahead(self, now: float, round: int) -> bool:
        """Does anybody say that the swarm is past this round?"""
        return any(told.round > round for when, told in self.told.values() if now - when < FRESH_SECONDS)

    def mostly_at(self, now: float, round: int) -> bool:
        """Do most of those who tell anything say that the swarm is hardly further than this round?"""
        rounds = self._rounds(now)
        return 2 * sum(other <= round + 1 for other in rounds) > len(rounds)

    def mostly_past(self, now: float, round: int) -> bool:
        """Do most of them say that it is further?"""
        rounds = self._rounds(now)
        return 2 * sum(other > round + 1 for other in rounds) > len(rounds)

    def _rounds(self, now: float) -> list[int]:
        return [told.round for when, told in self.told.values() if now - when < FRESH_SECONDS]


class Pace:
    """This peer's own words, from what its trainer tells after every micro-batch."""

    def __init__(self) -> None:
        self.step = -1
        self.samples = 0
        self.micro = 0
        self.rate = 0.0
        self.at = 0.0

    def note(self, now: float, step: int, samples: int) -> None:
        grown = samples - self.samples
        if step == self.step and grown > 0:
            seconds = max(now - self.at, 1e-6)
            self.micro = grown
            self.rate = grown / seconds if not self.rate else 0.7 * self.rate + 0.3 * grown / seconds
        self.step, self.samples, self.at = step, samples, now

    def told(self, now: float, base: bytes, round: int) -> Told:
        here = self.step == round
        samples, age = (min(self.samples, MAX_SAMPLES - 1), max(0.0, now - self.at)) if here else (0, 0.0)
        micro = self.micro if here else 0
        return Told(base, round, samples, micro, min(self.rate, MAX_SAMPLES - 1.0), min(age, MAX_SAMPLES - 1.0))
