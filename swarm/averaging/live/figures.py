"""What a peer's rounds looked like, for its metrics: counted by the driver, read by whoever reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from swarm.averaging.round.certificate import Position

EVENTS = {  # counts of the core that are no rejection
    "ballot_timeout",
    "lineage_left",
    "no_quorum",
    "reassigned",
    "stale",
    "old_ballot",
    "unknown_outcome",
}


@dataclass
class Arrivals:
    """When bytes of others came for the round after `base`."""

    base: bytes = b""
    first: float | None = None
    last: float = 0.0

    def come(self, now: float, base: bytes) -> None:
        if self.base != base:
            self.base, self.first = base, None
        self.first, self.last = now if self.first is None else self.first, now

    def of(self, base: bytes) -> Arrivals:
        return self if self.base == base else Arrivals()


@dataclass
class Figures:
    """Totals since the start; from `agreement` on, of the last round. Times are of the monotonic clock."""

    counts: Counter[str] = field(default_factory=Counter)  # everything the core counts, and the checks before it
    forks: int = 0
    lost_rounds: int = 0  # own rounds given up for a heavier lineage
    agreement: bool | None = None  # is the shared state that of the majority?
    residual_norm: float = 0.0
    arrival_spread: float | None = None  # seconds between the first and the last part, at a reducer
    ready_at: float = 0.0  # when this peer was encoded
    waited: float = 0.0  # seconds from then until the first bytes of others came
    lineage: str = ""  # of the log, in hex
    head: str = ""  # of the log after that round, in hex
    applied_at: float = 0.0  # when the outcome was known and all its bytes were here

    def decided(self, now: float, position: Position, arrivals: Arrivals) -> None:
        """A round's outcome was known, with all its bytes, at `now`."""
        self.applied_at, self.lineage, self.head, self.waited = now, position.lineage.hex(), position.head.hex(), 0.0
        if arrivals.first is not None:
            self.arrival_spread = arrivals.last - arrivals.first
            self.waited = max(0.0, arrivals.first - self.ready_at)

    def rejected(self) -> Counter[str]:
        """What others sent and was refused, by reason."""
        return Counter({reason: count for reason, count in self.counts.items() if reason not in EVENTS})
