"""Training whose computing takes as long as it took elsewhere: real loops, rounds and updates, waited-out gradients.

What is replayed are durations, so that several peers fit on a machine that could not compute for all of them. All else
is the product's: `GradientWork` or `LocalWork` in the trainer's loop, the shared update, the parameters of a real
model, moved in every step so that what is exchanged is a vector like any other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.averaging.averager import Contribution

if TYPE_CHECKING:
    from swarm.model.layout import Layout

STEP_SIZE = 1e-3


@dataclass(frozen=True)
class Drawn:
    """So many samples."""

    slots: range

    def part(self, start: int, stop: int) -> Drawn:
        return Drawn(self.slots[start:stop])


@dataclass
class Samples:
    """`Batches` without text."""

    def begin(self, step: int, roster: tuple[str, ...], read: int = 0) -> None:
        """Any sample is as good as any other."""

    def next(self, samples: int) -> Drawn:
        return Drawn(range(samples))


@dataclass
class Replayed:
    """`GradientAccumulator` and `InnerOptimizer` in one. sample_seconds: of computing one sample here.

    model: holds the parameters; the last bit of them moves by `moved`, (size,) float32, at every inner step.
    """

    model: Any
    layout: Layout
    sample_seconds: float
    seed: int = 0
    samples: int = 0
    computed: float = 0.0  # seconds in all
    tokens: Counter[str] = field(default_factory=Counter)  # by language, and here there are none
    languages: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    mean_loss: float | None = None
    pause: threading.Event = field(default_factory=threading.Event)
    debt: float = 0.0  # seconds by which this process woke late: taken off the next ones

    def __post_init__(self) -> None:
        self.moved = np.random.default_rng(self.seed).standard_normal(self.layout.size, dtype=np.float32)
        self.moved *= np.float32(STEP_SIZE)

    def add(self, drawn: Drawn) -> float:
        """Take the time of these samples."""
        samples = len(drawn.slots)
        began, seconds = time.monotonic(), samples * self.sample_seconds
        self.pause.wait(max(0.0, seconds - self.debt))
        self.debt = max(0.0, min(seconds, self.debt + time.monotonic() - began - seconds))
        self.computed += seconds
        self.samples += samples
        return 0.0

    def settle(self) -> None:
        """Nothing has a scale here."""

    def reset(self) -> None:
        self.samples = 0

    def contribution(self, *, staleness: int = 0) -> Contribution:
        return Contribution(self.moved, weight=float(self.samples), samples=self.samples, staleness=staleness)

    def step(self, gradient_scale: float, rate: float) -> None:
        """The replayed seconds include those of the inner optimizer; the parameters move once, at the cut."""

    def vector(self) -> np.ndarray:
        vector = self.layout.gather(self.model)
        np.add(vector, self.moved, out=vector)
        return vector

    def forget(self) -> None:
        """There are no moments."""
