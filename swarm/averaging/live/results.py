"""What the trainer gets to see of a certified round: who was in it, and what it cost."""

from __future__ import annotations

import time

from swarm.averaging.averager import Member, RoundStats
from swarm.averaging.live.delivery import Certified
from swarm.averaging.live.links import PURPOSE
from swarm.averaging.round.messages import Outcome
from swarm.network.traffic import Traffic


class Meter:
    """Time and bytes of one call of the trainer after another, counted where they went to the daemon."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.before = self._bytes()

    def stats(self, began: float, certified: Certified | None = None) -> RoundStats:
        """Of a call that began at this `time.perf_counter()`, and of the round it brought."""
        (sent, received), now = self.before, self._bytes()
        self.before = now
        seconds = time.perf_counter() - began
        if certified is None:
            return RoundStats(seconds, now[0] - sent, now[1] - received)
        quality, outcome = certified.given.quality if certified.given else None, certified.outcome
        return RoundStats(
            seconds=seconds,
            bytes_sent=now[0] - sent,
            bytes_received=now[1] - received,
            codec_relative_error=quality.relative_error if quality else None,
            codec_cosine=quality.cosine if quality else None,
            ballots=outcome.ballot.number + 1,
            void_spans=sum(span.void for span in outcome.spans),
        )

    def _bytes(self) -> tuple[int, int]:
        return self.traffic.total("sent", PURPOSE), self.traffic.total("received", PURPOSE)


def members_of(outcome: Outcome) -> tuple[Member, ...]:
    """Who was in, in roster order, with what counted: the same for everybody who holds the outcome."""
    return tuple(
        Member(ready.message.at.peer, ready.message.samples if counted else 0, ready.message.weight if counted else 0.0)
        for ready, counted in zip(outcome.readys, outcome.included, strict=True)
    )
