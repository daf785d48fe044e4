"""Who calls a round and when: each peer tells how far it is, adds up what all told, and says when the batch is full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swarm.averaging.live.tally import TELL_SECONDS, Pace, Tally, Told, worth_waiting
from swarm.averaging.round.certificate import Position
from swarm.averaging.round.events import Due
from swarm.records import ProgressRecord
from swarm.run.schema import TrainingSpec

REPEAT_SECONDS = 1.0  # between two that say the same
HOLD_SECONDS = 30.0  # so long a peer without a vote believes that the swarm is further than it is

Alive = Callable[[], Mapping[str, ProgressRecord]]


@dataclass
class Caller:
    me: str
    training: TrainingSpec
    alive: Alive
    wait_for: int
    tally: Tally = field(default_factory=Tally)
    pace: Pace = field(default_factory=Pace)
    called: bytes = b""  # the head for which Due was said
    held_since: float | None = None
    told_at: float = -1e9
    news_at: float = -1e9  # when something new was told last: what is only repeated holds up no news
    said: tuple[bytes, int] = (b"", -1)

    def note(self, now: float, step: int, samples: int) -> None:
        """The trainer has finished a micro-batch."""
        self.pace.note(now, step, samples)

    def telling(self, now: float, position: Position) -> Told | None:
        """What to tell the others now, if anything."""
        told = self.pace.told(now, position.head, position.round)
        news = (position.head, told.samples)
        if now - self.told_at < REPEAT_SECONDS and (news == self.said or now - self.news_at < TELL_SECONDS):
            return None
        self.told_at, self.news_at = now, now if news != self.said else self.news_at
        self.said = news
        return told

    def audience(self, position: Position) -> set[str]:
        return ({*position.seats, *self.alive()}) - {self.me}

    def due(self, now: float, position: Position, incarnation: int) -> Due | None:
        """Due, once for each head, when the peers that build on it have the batch at their next boundaries."""
        if self.called == position.head:
            return None
        live = self.alive()
        if position.round == 0 and len({*live, self.me}) < self.wait_for:
            return None
        self.tally.hear(now, self.me, self.pace.told(now, position.head, position.round))
        if not position.votes(self.me, incarnation) and self._holds(now, position, live):
            return None
        here = self.tally.on(now, position.head)
        counted = {
            peer: item for peer, item in here.items() if peer in live or peer in position.seats or peer == self.me
        }
        wanted = self.training.samples_due(sum(trains(live.get(peer)) for peer in counted))
        total = sum(min(told.expected(now - when), wanted) for when, told in counted.values())
        if total < wanted or all(told.samples == 0 for _, told in counted.values()):
            return None
        self.called = position.head
        joining = {*counted} if position.electorate else {*counted, *live}
        silent = position.seats.keys() - live.keys() - self.tally.fresh(now)
        return Due(
            tuple(sorted(joining - {*position.seats, self.me})),
            absent=tuple(sorted(silent - {self.me})),
            boundary=worth_waiting(((now - when, told) for when, told in counted.values()), wanted),
        )

    def _holds(self, now: float, position: Position, live: Mapping[str, ProgressRecord]) -> bool:
        """Is the swarm further, as somebody says? Then a peer without a vote catches up first; but not for ever."""
        others = any(record.step > position.round for peer, record in live.items() if peer != self.me)
        if not others and not self.tally.ahead(now, position.round):
            self.held_since = None
            return False
        if self.held_since is None:
            self.held_since = now
        return now - self.held_since < HOLD_SECONDS


def trains(record: ProgressRecord | None) -> bool:
    """Who has said nothing is taken for somebody that will bring samples."""
    return record is None or record.role == "trainer"
