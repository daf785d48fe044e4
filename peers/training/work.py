"""The work of one peer: micro-batches of its own samples, added up until the swarm has its batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from swarm.averaging.averager import Averaged, Averager, Contribution, Outcome
from swarm.data.batches import Batches
from swarm.model.gradient import GradientAccumulator
from swarm.model.memory import AgainError, MemoryShortError, MicroBatch
from swarm.run.schema import TrainingSpec
from swarm.state.shared import SharedState


class GradientWork:
    """`Work` in gradient mode: the mean gradient over this peer's samples of a step.

    `tell(samples)` is called after each micro-batch, so that others can know how far the batch is. `leaving` ends the
    accumulation early: what is there is then contributed.
    """

    def __init__(
        self,
        state: SharedState,
        accumulator: GradientAccumulator,
        batches: Batches,
        micro_batch: MicroBatch,
        tell: Callable[[int], None],
        leaving: Callable[[], object] = bool,
    ) -> None:
        self.state = state
        self.accumulator = accumulator
        self.batches = batches
        self.micro_batch = micro_batch
        self.tell = tell
        self.leaving = leaving
        self.loss: float | None = None
        self.tokens: Counter[str] = Counter()
        self.language_samples: Counter[str] = Counter()
        self.language_losses: dict[str, float] = {}  # sums over these samples

    def contribution(self, step: int, averager: Averager) -> Contribution:
        """Accumulate until the averager says that the batch is full; nothing at all where an outcome already waits.

        Where memory runs out, the same samples again, fewer at a time.
        """
        while True:
            try:
                self._accumulate(step, averager)
                gift = self._gift()
            except AgainError as error:
                self._again(error)
                continue
            self.loss = self.accumulator.mean_loss
            self.tokens = Counter(self.accumulator.tokens)
            self.language_samples = Counter(self.accumulator.languages)
            self.language_losses = dict(self.accumulator.losses)
            return gift

    def _again(self, error: AgainError) -> None:
        """The sums are spoiled."""
        if isinstance(error, MemoryShortError):
            self.micro_batch.shrink(str(error))

    def _accumulate(self, step: int, averager: Averager) -> None:
        self._begin(step, averager.roster(), self.state.samples)
        while not averager.due(step, self.accumulator.samples) and not self.leaving():
            self._add()

    def _begin(self, step: int, roster: tuple[str, ...], read: int) -> None:
        """read: samples of all rounds that were committed by now."""
        self.accumulator.reset()
        self.batches.begin(step, roster, read)

    def _add(self) -> None:
        """One micro-batch."""
        self.micro_batch.breathe()
        self.accumulator.add(self.batches.next(self.micro_batch.size))
        self.tell(self.accumulator.samples)

    def _gift(self) -> Contribution:
        if self.accumulator.samples == 0:
            return Contribution(np.empty(0, dtype=np.float32), weight=0.0, samples=0)
        return self.accumulator.contribution()

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        """Nothing can be computed before the new parameters are known."""
        return average()

    def rest(self) -> None:
        """Nothing is given to the next round."""

    def amend(self, training: TrainingSpec) -> None:
        """A new version of the run counts: nothing of it is the work's."""

    def update(self, outcome: Averaged) -> None:
        self.restart()

    def restart(self) -> None:
        self.state.layout.scatter(self.state.parameters, self.accumulator.model)
