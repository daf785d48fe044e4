"""The work of one peer in mode "gradient" with `training.overlap`: the next step's gradients during this step's round.

So every contribution, everybody's, belongs to the parameters of the step before the one it drives (the delayed update
of Ren et al. 2021, "ZeRO-Offload"); those of a run's first two steps both belong to its start. It keeps to
that also where the round ends early: then anybody can recompute a contribution from the committed states alone.

A peer that waits for a slow round stops at as many samples as it gave last, so that the batch does not grow.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from peers.training.work import GradientWork
from swarm.averaging.averager import Averaged, Averager, Contribution, Outcome
from swarm.model.memory import AgainError


class OverlappedWork(GradientWork):
    """`Work`. The model's parameters are those of the shared state when the round under way, or the last one, began."""

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self.begun: tuple[int, tuple[str, ...], int] | None = None  # `_begin` of what is being added up
        self.roster: tuple[str, ...] = ()
        self.given = 0  # samples
        self.ahead = False  # were they added up at the parameters of the step before?

    def contribution(self, step: int, averager: Averager) -> Contribution:
        """As `GradientWork`, going on with what was added up during the last round."""
        self.roster = averager.roster()
        gift = super().contribution(step, averager)
        self.given = gift.samples
        return gift

    def _accumulate(self, step: int, averager: Averager) -> None:
        if self.begun is None or self.begun[0] != step:
            self._begin(step, self.roster, self.state.samples)
            self.ahead = False
        while not averager.due(step, self.accumulator.samples) and not self.leaving():
            self._add()

    def _begin(self, step: int, roster: tuple[str, ...], read: int) -> None:
        super()._begin(step, roster, read)
        self.begun = (step, roster, read)

    def _gift(self) -> Contribution:
        gift = super()._gift()
        return replace(gift, staleness=1) if self.ahead else gift

    def _again(self, error: AgainError) -> None:
        super()._again(error)
        assert self.begun is not None
        self._begin(*self.begun)

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        """Take part in the round of `step`, and add up gradients of the next one while it is under way."""
        super().restart()
        self._begin(step + 1, self.roster, self.state.samples)
        self.ahead = True
        with ThreadPoolExecutor(1, "round") as executor:
            round_ = executor.submit(average)
            while not round_.done() and not self.leaving() and self.accumulator.samples < self.given:
                try:
                    self._add()
                except AgainError as error:
                    self._again(error)
            return round_.result()

    def update(self, outcome: Averaged) -> None:
        """The model follows when the next round begins."""

    def restart(self) -> None:
        super().restart()
        self.begun = None
