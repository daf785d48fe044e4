"""What the monitor remembers of one peer between two looks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from monitoring.view.robust import median
from swarm.records import ProgressRecord

KEPT = 4096  # peers remembered, the gone ones included
GROWN_RATIO, GROWN_BYTES = 1.5, 256e6
SETTLED_SECONDS = 300.0  # before this age a peer's memory is still filling up
PACES, FEWEST_PACES = 10, 5  # looks: one turn of the loop says little of a peer's speed, their median says it
DIGESTS = 8  # remembered of one peer: peers tell those of one step at different moments


@dataclass
class Acquaintance:
    """Times are the monitor's own clock. skew: the peer's clock minus ours when a record came.

    heard: when it last wrote a record; what a killed peer wrote lives on for a while. read: when it last read text, by
    language. digests: of its state, by step.
    """

    peer_id: str
    record: ProgressRecord
    first_seen: float
    last_seen: float
    moved: float  # when its step or its samples last changed
    heard: float
    skew: float | None = None
    settled_memory: int | None = None
    departed: str | None = None  # "left" (said goodbye) or "lost" (fell silent)
    behind_since: float | None = None
    slow: bool = False
    differed: float | None = None  # when its state was last another than the majority's
    doubted: bool = False  # its last record held what cannot be: its totals are not counted on from there
    paces: deque[float] = field(default_factory=lambda: deque(maxlen=PACES))
    read: dict[str, float] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)

    def meet(self, record: ProgressRecord, now: float) -> None:
        if (record.step, record.samples, record.total_samples) != (
            self.record.step,
            self.record.samples,
            self.record.total_samples,
        ):
            self.moved = now
        if record.clock is None or record.clock != self.record.clock:
            self.heard = now
            self.skew = self.skew if record.clock is None else record.clock - now
        if record.memory_bytes and self.settled_memory is None and now - self.first_seen > SETTLED_SECONDS:
            self.settled_memory = record.memory_bytes
        self.record, self.last_seen, self.departed = record, now, None
        self.note()

    def note(self) -> None:
        """Keep of the record what is judged over several."""
        self.paces.append(self.record.samples_per_second)
        if self.record.state_digest and self.record.digest_step is not None:
            self.digests[self.record.digest_step] = self.record.state_digest
        for step in sorted(self.digests)[:-DIGESTS]:
            del self.digests[step]

    @property
    def pace(self) -> float | None:
        """Samples a second over the last looks; None while there were too few."""
        return median(self.paces) if len(self.paces) >= FEWEST_PACES else None

    @property
    def memory_grew(self) -> bool:
        before, now = self.settled_memory, self.record.memory_bytes
        return bool(before and now and now > GROWN_RATIO * before and now - before > GROWN_BYTES)


def meeting(peer_id: str, record: ProgressRecord, now: float) -> Acquaintance:
    """Its first record may be the last of a peer that is gone: only one from the future tells of a clock."""
    skew = None if record.clock is None or record.clock < now else record.clock - now
    met = Acquaintance(peer_id, record, now, now, now, now, skew)
    met.note()
    return met
