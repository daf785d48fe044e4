"""The work of one peer in mode "local" (DiLoCo, Douillard et al. 2023): many own optimizer steps, then one exchange.

What is given is the way from the anchor (the shared parameters) to where this peer trained: delta = anchor - local.
With overlap, training goes on from the cut while the round is under way, and the outcome moves the ground under it:

    committed with me       local <- new anchor + (local now - local at the cut)
    committed without me    local <- local now + (new anchor - old anchor)      the delta stays for the next round
    void span, or missed    nothing changes

So no step is lost and none is applied twice. A peer whose delta no round of three has included goes back to the anchor:
it was made for parameters that the swarm has long left. In a round that does not end, training ahead does: the outer
step goes further than what was trained, by its momentum, and that is too far for a way of thousands of steps.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from swarm.averaging.averager import Averaged, Averager, Contribution, Outcome
from swarm.data.batches import Batch, Batches
from swarm.model.gradient import GradientAccumulator
from swarm.model.inner import InnerOptimizer
from swarm.model.memory import AgainError, MemoryShortError, MicroBatch
from swarm.run.schema import RunConfig, TrainingSpec
from swarm.state.diary import Diarist, Turn
from swarm.state.shared import SharedState
from swarm.update.schedule import learning_rate

STALE_ROUNDS = 2  # so many may pass over a delta; the next one drops it
MOST_AHEAD = 2  # times as many inner steps as behind the last contribution, while a round is under way


class LocalWork:
    """`Work` in local mode. `tell(samples)` after each inner step; `leaving` ends the training early."""

    def __init__(
        self,
        config: RunConfig,
        state: SharedState,
        accumulator: GradientAccumulator,
        inner: InnerOptimizer,
        batches: Batches,
        *,
        micro_batch: MicroBatch,
        tell: Callable[[int], None],
        leaving: Callable[[], object] = bool,
    ) -> None:
        self.spec, self.schedule, self.total_steps = config.training.local, config.optimizer, config.training.steps
        self.state, self.accumulator, self.inner, self.batches = state, accumulator, inner, batches
        self.micro_batch = micro_batch
        self.tell, self.leaving = tell, leaving
        self.anchor = state.parameters.copy()
        self.given: np.ndarray | None = None  # the delta of the round under way
        self.given_steps = 0  # inner steps behind it
        self.held = 0  # samples in deltas that no round has included yet
        self.samples = 0  # since the last cut
        self.done = 0  # inner steps since the last cut
        self.ahead = 0  # of these, while a round was under way
        self.diarist = Diarist()
        self.passed_over = 0  # rounds in a row that were committed without what this peer has to give
        self._reading: tuple[int, tuple[str, ...]] | None = None
        self.losses: list[float] = []
        self.loss: float | None = None
        self.tokens: Counter[str] = Counter()  # of the steps behind the last contribution
        self.language_samples: Counter[str] = Counter()  # of the same steps
        self.language_losses: dict[str, float] = {}  # sums over these samples
        self._tokens: Counter[str] = Counter()  # since
        self._samples: Counter[str] = Counter()
        self._losses: defaultdict[str, float] = defaultdict(float)

    def contribution(self, step: int, averager: Averager) -> Contribution:
        """Train until the averager says that it is time, then cut. Nothing where an outcome already waits."""
        self._read_on(step, averager.roster())
        while not averager.due(step, self.samples) and not self.leaving():
            self.train(step)
        self.loss = sum(self.losses) / len(self.losses) if self.losses else None
        self.losses.clear()
        self.tokens, self._tokens = self._tokens, Counter()
        self.language_samples, self._samples = self._samples, Counter()
        self.language_losses, self._losses = dict(self._losses), defaultdict(float)
        return self._cut(step)

    def _cut(self, step: int) -> Contribution:
        self.diarist.note(Turn(step, self.ahead, self.done - self.ahead))
        weight = self.held + self.samples
        self.ahead = 0
        if weight == 0:
            self.given = None
            return Contribution(np.empty(0, dtype=np.float32), weight=0.0, samples=0)
        self.given = np.subtract(self.anchor, self.inner.vector())
        self.held, self.given_steps, self.samples, self.done = weight, self.done, 0, 0
        return Contribution(self.given, weight=float(weight), samples=weight, diary=self.diarist.diary())

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        """Take part in a round, and with overlap train on while it is under way."""
        last, most = step + 1 == self.total_steps, MOST_AHEAD * max(self.spec.inner_steps, self.given_steps)
        if not self.spec.overlap or self.given is None or last:
            return average()
        with ThreadPoolExecutor(1, "round") as executor:
            round_ = executor.submit(average)
            while not round_.done() and not self.leaving() and self.ahead < most:
                self.train_ahead(step + 1)
            return round_.result()

    def train_ahead(self, step: int) -> None:
        """One inner step for the round of `step`, while the one before is under way."""
        self.train(step)
        self.ahead += 1

    def amend(self, training: TrainingSpec) -> None:
        """A new version of the run counts: its schedule may be longer or shorter."""
        self.total_steps = training.steps

    def rest(self) -> None:
        """Nothing is given to the next round: what was trained waits for a later one, or becomes stale."""
        self.given = None

    def _read_on(self, step: int, roster: tuple[str, ...]) -> None:
        """The text of this step from its beginning, or, after a round that came to nothing, from where we are in it."""
        if self._reading != (step, roster):
            self.batches.begin(step, roster, self.state.samples)
            self._reading = (step, roster)

    def train(self, step: int) -> None:
        """One inner step. Where memory runs out, with the same samples again, fewer at a time."""
        batch = self.batches.next(self.spec.inner_batch)
        while not self._gradient(batch):
            pass
        self._tokens.update(self.accumulator.tokens)
        self._samples.update(self.accumulator.languages)
        for language, loss in self.accumulator.losses.items():
            self._losses[language] += loss
        self.losses.append(self.accumulator.mean_loss or 0.0)
        self.inner.step(1.0 / self.accumulator.samples, self.rate(step))
        self.samples += self.accumulator.samples
        self.done += 1
        self.tell(self.samples)

    def _gradient(self, batch: Batch) -> bool:
        """The sums of one inner batch. False where it must be tried again."""
        self.accumulator.reset()
        try:
            while (done := self.accumulator.samples) < self.spec.inner_batch:
                self.micro_batch.breathe()
                self.accumulator.add(batch.part(done, done + self.micro_batch.size))
            self.accumulator.settle()
        except MemoryShortError as error:
            self.micro_batch.shrink(str(error))
            return False
        except AgainError:
            return False
        return True

    def rate(self, step: int) -> float:
        """By the swarm's clock, so that a newcomer and a fast or slow peer have the rate of everybody else."""
        length = self.spec.inner_steps
        position = step * length + min(self.done, length - 1)
        return learning_rate(self.schedule, position, self.total_steps * length)

    def update(self, outcome: Averaged) -> None:
        """The anchor has moved: move with it."""
        if self._is_stale(outcome):
            self.restart()
            return
        local = self.inner.vector()
        np.subtract(local, self.anchor, out=local)  # what was trained since the old anchor
        if outcome.included and self.given is not None:
            self._take_away_what_was_given(local, outcome)
            self.held = 0
        np.add(local, self.state.parameters, out=local)
        self.state.layout.scatter(local, self.accumulator.model)
        np.copyto(self.anchor, self.state.parameters)
        self.given = None

    def _is_stale(self, outcome: Averaged) -> bool:
        waiting = self.held + self.samples > 0 and not outcome.included
        self.passed_over = self.passed_over + 1 if waiting else 0
        return self.passed_over > STALE_ROUNDS

    def _take_away_what_was_given(self, local: np.ndarray, outcome: Averaged) -> None:
        assert self.given is not None
        for span, mean in outcome.mean.spans():
            if mean is not None:
                np.add(local[span], self.given[span], out=local[span])

    def restart(self) -> None:
        """The shared state was replaced: back to the anchor, with empty moments."""
        np.copyto(self.anchor, self.state.parameters)
        self.state.layout.scatter(self.anchor, self.accumulator.model)
        self.inner.forget()
        self.diarist.forget()
        self.given, self.held, self.samples, self.done, self.ahead, self.passed_over = None, 0, 0, 0, 0, 0
