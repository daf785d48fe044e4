"""The loop: the shared update belongs to the exchange, so that whoever computes on meanwhile loses no time by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from peers.training.trainer import StepReport, Trainer
from swarm.averaging.averager import Averaged, Contribution, Missed, Outcome

ROUND_SECONDS, APPLY_SECONDS = 0.1, 0.2


class Scripted:
    """Averager, state, and a work that computes while a round is under way."""

    def __init__(self, *outcomes: Outcome, broken: bool = False) -> None:
        self.outcomes, self.broken = list(outcomes), broken
        self.step = 0
        self.happened: list[tuple[str, bool]] = []  # what, and whether in the main thread
        self.ahead = [0, 0]  # micro-batches while the round went on, and while the state moved
        self.moving = 0
        self.reports: list[StepReport] = []

    def note(self, what: str) -> None:
        self.happened.append((what, threading.current_thread() is threading.main_thread()))

    def average(self, step: int, contribution: Contribution) -> Outcome:
        self.note("average")
        time.sleep(ROUND_SECONDS)
        return self.outcomes.pop(0)

    def apply(self, outcome: Averaged) -> None:
        self.note("apply")
        self.moving = 1
        time.sleep(APPLY_SECONDS)
        if self.broken:
            raise ValueError("the update failed")
        self.moving, self.step = 0, self.step + 1

    def applied(self, outcome: Averaged) -> None:
        self.note("applied")

    def contribution(self, step: int, averager: object) -> Contribution:
        return Contribution(np.zeros(1, np.float32), weight=1.0, samples=1)

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        with ThreadPoolExecutor(1) as executor:
            round_ = executor.submit(average)
            while not round_.done():
                self.ahead[self.moving] += 1
                time.sleep(0.005)
            return round_.result()

    def update(self, outcome: Averaged) -> None:
        self.note("update")

    def restart(self) -> None:
        self.note("restart")

    def catch_up(self, missed: Missed) -> bool:
        self.step += 1
        return True

    def run(self) -> None:
        named: Any = {"state": self, "work": self, "averager": self}
        calls: Any = {"catch_up": self.catch_up, "report": self.reports.append, "leaving": bool}
        Trainer(**named, last_step=len(self.outcomes), applied=self.applied, **calls).run()


def averaged(step: int) -> Averaged:
    return Averaged(step, mean=None, roster=())  # type: ignore[arg-type]


def test_the_work_computes_on_while_the_state_moves() -> None:
    swarm = Scripted(averaged(0), averaged(1))
    swarm.run()
    round_ = [("average", False), ("apply", False), ("applied", True), ("update", True)]
    assert swarm.happened == 2 * round_
    assert swarm.ahead[1] > 2 * 0.5 * APPLY_SECONDS / 0.005, "nothing was computed while the state moved"
    for report in swarm.reports:
        assert report.average_seconds == pytest.approx(ROUND_SECONDS, abs=0.08)
        assert report.apply_seconds == pytest.approx(APPLY_SECONDS, abs=0.08)


def test_a_missed_round_moves_nothing() -> None:
    swarm = Scripted(Missed(0, "alone"))
    swarm.run()
    assert swarm.happened == [("average", False), ("restart", True)]
    assert swarm.reports[0].apply_seconds < 0.1


def test_an_update_that_fails_ends_the_training() -> None:
    swarm = Scripted(averaged(0), broken=True)
    with pytest.raises(ValueError, match="the update failed"):
        swarm.run()
    assert swarm.happened == [("average", False), ("apply", False)]
