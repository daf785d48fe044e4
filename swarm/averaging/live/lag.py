"""Whether the shared state here must be fetched, and when the trainer is told: once the log was followed to its end.

Told at once, a trainer would fetch a state that the next page of the log makes old again.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.averaging.live.tally import Tally
from swarm.averaging.round.log import Log

QUIET_SECONDS = 1.0  # when the log has not grown for so long, it has been followed to its end, as far as anybody says,
LATE_SECONDS = 15.0  # and when for so long, in any case: whoever says that it goes on may lie, or be too slow to tell


@dataclass
class Lag:
    why: str | None = None  # the state must be fetched, from when that is known
    told: bool = False  # the trainer knows
    since: float = 0.0
    grown_at: float = 0.0  # when the log grew last

    def falls(self, now: float, why: str) -> None:
        self.why, self.told, self.since = why, False, now

    def ends(self) -> None:
        """The state is where the log can follow it."""
        self.why, self.told = None, False

    def news(self, now: float, log: Log, tally: Tally) -> str | None:
        """What to tell the trainer now, if there is anything and nothing more to hear before that."""
        return self.why if self.why is not None and not self.told and self._followed(now, log, tally) else None

    def _followed(self, now: float, log: Log, tally: Tally) -> bool:
        """A swarm with rounds of less than a second is never quiet."""
        last, end = log.chain[-1], log.tip.round
        ends = last.commit is None or last.commit.tip <= last.position.round
        if last.commit is not None and ends:
            return True
        if tally.mostly_at(now, end) and now - self.since > QUIET_SECONDS:
            return True
        known = ends and not tally.mostly_past(now, end)
        return now - self.grown_at > (QUIET_SECONDS if known else LATE_SECONDS)
