"""One turn of the trainer's loop in one line of the volunteer's log, and in values for a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarm.averaging.averager import Averaged
from swarm.run.sizing import show_seconds

if TYPE_CHECKING:
    from peers.training.trainer import StepReport
    from peers.training.work import GradientWork


@dataclass(frozen=True)
class TurnLine:
    """seconds: that the turn took in all. planned: steps of the run. role: of this peer; a trainer gives samples."""

    report: StepReport
    work: GradientWork
    seconds: float
    planned: int
    role: str

    @property
    def round(self) -> int:
        """The round that the line is about: the one that made the step, or the one that the peer missed."""
        return self.report.step if isinstance(self.report.outcome, Averaged) else self.report.step + 1

    @property
    def words(self) -> str:
        report, loss = self.report, self.work.loss
        done = f"step {report.step}/{self.planned}"
        gave = f"{report.samples} samples" + (f", loss {loss:.3f}" if loss is not None else "")
        match report.outcome:
            case Averaged(roster=roster, included=included):
                others, took = len(roster) - 1, show_seconds(report.average_seconds)
                count = f"{others} other{'s' if others != 1 else ''}"
                if self.role != "trainer":
                    return f"{done}: averaged for {count} in {took}"
                if not included:
                    return f"{done}: the swarm's step, without this peer"
                return f"{done}: {gave}; averaged {f'with {count}' if others else 'alone'} in {took}"
            case missed if missed.reason == "leaving":  # as every averager says it
                return f"{done}: this peer leaves, and its part of the round is handed back"
            case missed:
                return f"{done}: {gave}; round missed: {missed.reason}"

    @property
    def values(self) -> dict[str, Any]:
        report, loss = self.report, self.work.loss
        told: dict[str, Any] = {
            "step": report.step,
            "loss": round(loss, 4) if loss is not None else None,
            "samples": report.samples,
            "samples_per_second": round(report.samples / self.seconds, 2) if self.seconds > 0 else 0.0,
            "round_seconds": round(report.average_seconds, 3),
        }
        match report.outcome:
            case Averaged(roster=roster, included=included):
                return told | {"group": len(roster), "outcome": "committed", "included": included}
            case missed:
                return told | {"group": 0, "outcome": "missed", "reason": missed.reason}
