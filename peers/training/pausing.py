"""A peer that is paused (`bloomswarm pause`, `resume`) computes nothing for a while and stays in step with the swarm.

A paused peer gives nothing and still takes part in rounds with weight 0, as an assistant does: it costs little, nobody
waits for it, and when it goes on it has nothing to catch up. What says so is a file in its folder, so that it stays
paused over a restart.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from peers.folders import PAUSED
from swarm.averaging.averager import Averaged, Averager, Contribution, Outcome
from swarm.run.schema import TrainingSpec

LOOK_SECONDS = 0.1


class Pausing:
    """`Work` that can be paused. asked(step): whether a round waits for what this peer gives to it."""

    def __init__(
        self,
        work: Any,
        folder: Path,
        *,
        asked: Callable[[int], bool],
        leaving: threading.Event,
        say: Callable[[bool], None],
    ) -> None:
        self.work, self.folder = work, folder
        self.asked, self.leaving, self.say = asked, leaving, say
        self.idle = False  # the last contribution was none, because of a pause

    def contribution(self, step: int, averager: Averager) -> Contribution:
        """Of the work; nothing while paused, as soon as a round asks."""
        if not is_paused(self.folder):
            self._tell(False)
            return self.work.contribution(step, averager)
        self._tell(True)
        self.work.rest()
        while is_paused(self.folder) and not averager.due(step, 0) and not self.asked(step):
            if self.leaving.wait(LOOK_SECONDS):
                break
        return Contribution(np.empty(0, dtype=np.float32), weight=0.0, samples=0)

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        return average() if self.idle else self.work.exchange(step, average)

    def amend(self, training: TrainingSpec) -> None:
        self.work.amend(training)

    def update(self, outcome: Averaged) -> None:
        self.work.update(outcome)

    def restart(self) -> None:
        self.work.restart()

    @property
    def loss(self) -> float | None:
        return None if self.idle else self.work.loss

    @property
    def tokens(self) -> Counter[str]:
        return Counter() if self.idle else self.work.tokens

    @property
    def language_samples(self) -> Counter[str]:
        return Counter() if self.idle else self.work.language_samples

    @property
    def language_losses(self) -> Any:
        return {} if self.idle else self.work.language_losses

    def _tell(self, idle: bool) -> None:
        if idle != self.idle:
            self.idle = idle
            self.say(idle)


def is_paused(folder: Path) -> bool:
    return (folder / PAUSED).exists()
