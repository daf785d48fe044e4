"""What the monitor remembers of one peer between two looks."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.records import ProgressRecord

KEPT = 4096  # peers remembered, the gone ones included
GROWN_RATIO, GROWN_BYTES = 1.5, 256e6
SETTLED_SECONDS = 300.0  # before this age a peer's memory is still filling up


@dataclass
class Acquaintance:
    """Times are the monitor's own clock. skew: the peer's clock minus ours when a record first came."""

    peer_id: str
    record: ProgressRecord
    first_seen: float
    last_seen: float
    moved: float  # when its step or its samples last changed
    skew: float | None = None
    settled_memory: int | None = None
    departed: str | None = None  # "left" (said goodbye) or "lost" (fell silent)
    behind_since: float | None = None
    differed: float | None = None  # when its state was last another than the majority's
    doubted: bool = False  # its last record held what cannot be: its totals are not counted on from there

    def meet(self, record: ProgressRecord, now: float) -> None:
        if (record.step, record.samples, record.total_samples) != (
            self.record.step,
            self.record.samples,
            self.record.total_samples,
        ):
            self.moved = now
        if record.clock is not None and record.clock != self.record.clock:
            self.skew = record.clock - now
        if record.memory_bytes and self.settled_memory is None and now - self.first_seen > SETTLED_SECONDS:
            self.settled_memory = record.memory_bytes
        self.record, self.last_seen, self.departed = record, now, None

    @property
    def memory_grew(self) -> bool:
        before, now = self.settled_memory, self.record.memory_bytes
        return bool(before and now and now > GROWN_RATIO * before and now - before > GROWN_BYTES)


def meeting(peer_id: str, record: ProgressRecord, now: float) -> Acquaintance:
    skew = None if record.clock is None else record.clock - now
    return Acquaintance(peer_id, record, now, now, now, skew)
