"""Of several functions with equal results, the one that is fastest on this processor, found out while they are used.

How many passes over memory an operation should take depends on caches and vector units: what saves a tenth of the time
on one processor costs as much on another (docs/benchmarks.md, Codec).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

TRIALS = 8  # of each; the fastest of them counts


class Quickest:
    """Call it like one of `ways`, which return nothing. From several threads at once a trial may be lost, no more."""

    def __init__(self, *ways: Callable[..., None]) -> None:
        self.ways, self.chosen = ways, ways[0]
        self.seconds = [math.inf] * len(ways)
        self.trials = 0

    def __call__(self, *arguments: object, trial: bool) -> None:
        """trial: are these arguments of a size that is worth measuring?"""
        if not trial or self.trials >= TRIALS * len(self.ways):
            self.chosen(*arguments)
            return
        index = self.trials % len(self.ways)
        self.trials += 1
        began = time.perf_counter()
        self.ways[index](*arguments)
        self.seconds[index] = min(self.seconds[index], time.perf_counter() - began)
        self.chosen = self.ways[self.seconds.index(min(self.seconds))]
