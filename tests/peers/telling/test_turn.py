"""The line of a step in a volunteer's log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from peers.telling.turn import TurnLine
from swarm.averaging.averager import Missed


def words(outcome: Any, samples: int = 0) -> str:
    report = SimpleNamespace(step=16, samples=samples, outcome=outcome, average_seconds=0.1)
    return TurnLine(report, SimpleNamespace(loss=None), 1.0, 100, "trainer").words  # type: ignore[arg-type]


def test_leaving_is_no_failure() -> None:
    assert words(Missed(16, "leaving")) == "step 16/100: this peer leaves, and its part of the round is handed back"


def test_a_round_that_was_missed_says_why() -> None:
    assert words(Missed(16, "timeout: too few"), 8) == "step 16/100: 8 samples; round missed: timeout: too few"
