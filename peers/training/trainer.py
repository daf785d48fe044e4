"""One peer's training: gradients until the swarm has its batch, one round, one identical update, again.

The loop is the description. How a gradient is made, how rounds work, how a lagging peer catches up and what is reported
live behind the nouns it uses; `peers/wiring.py` picks them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from swarm.averaging.averager import Averaged, Averager, Contribution, Missed, Outcome


class Work(Protocol):
    """Makes this peer's contribution to a step, until the averager says that the batch is full."""

    def contribution(self, step: int, averager: Averager) -> Contribution: ...

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        """Call `average`, and perhaps compute on while it waits for the others and moves the shared state."""
        ...

    def update(self, outcome: Averaged) -> None:
        """The shared state has applied `outcome`: the model follows."""
        ...

    def restart(self) -> None:
        """The shared state was replaced: the model starts from it."""
        ...


class State(Protocol):
    """The shared state."""

    step: int

    def apply(self, outcome: Averaged) -> None:
        """The shared update. Perhaps in another thread, while the work computes on."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What one turn of the loop did. Seconds are wall time: computing, in the round, and applying its outcome."""

    step: int
    outcome: Outcome
    samples: int
    compute_seconds: float
    average_seconds: float
    apply_seconds: float


@dataclass
class Trainer:
    """`catch_up` brings the state to the swarm's step after a missed round, and says whether it replaced it.

    `leaving` ends the loop at a boundary. `averaging` is told when a round begins for this peer and when it has ended,
    `applied` that the state has followed its outcome.
    """

    state: State
    work: Work
    averager: Averager
    last_step: int
    catch_up: Callable[[Missed], bool]
    report: Callable[[StepReport], None]
    leaving: Callable[[], object]
    averaging: Callable[[bool], object] = bool
    applied: Callable[[Averaged], object] = bool
    clock: Callable[[], float] = time.perf_counter
    averaged: float = field(default=0.0, init=False)  # when the last round was over
    moved: float = field(default=0.0, init=False)  # when the state had followed

    def run(self) -> None:
        """Train until the state is at `last_step` or this peer is leaving."""
        while self.state.step < self.last_step and not self.leaving():
            began, step = self.clock(), self.state.step
            contribution = self.work.contribution(step, self.averager)
            computed = self.clock()
            self.averaging(True)
            outcome = self.work.exchange(step, partial(self.round, step, contribution))
            self.averaging(False)
            going_on = self.clock()
            match outcome:
                case Averaged():
                    self.applied(outcome)
                    self.work.update(outcome)
                case Missed() if self.catch_up(outcome):
                    self.work.restart()
            applying = self.moved - self.averaged + self.clock() - going_on
            seconds = (computed - began, self.averaged - computed, applying)
            self.report(StepReport(self.state.step, outcome, contribution.samples, *seconds))

    def round(self, step: int, contribution: Contribution) -> Outcome:
        """A round, and the update that it leads to."""
        outcome = self.averager.average(step, contribution)
        self.averaged = self.clock()
        if isinstance(outcome, Averaged):
            self.state.apply(outcome)
        self.moved = self.clock()
        return outcome
