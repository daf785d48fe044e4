"""Whoever comes when the run has ended waits for its final checkpoint no longer than somebody may give it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from peers.finding.ending import Ending
from peers.lifecycle import Leave
from peers.roles import latecomer
from peers.roles.latecomer import Latecomer
from tests.peers.finding.test_ending import A, B, record

OVER = Ending(40, (A,))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latecomer, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(latecomer, "ALONE_SECONDS", 0.1)
    monkeypatch.setattr(latecomer, "PATIENCE_SECONDS", 0.5)


def seconds_of_patience(records: dict[str, Any]) -> float:
    late: Any = SimpleNamespace(
        over=OVER,
        leave=Leave(),
        state=SimpleNamespace(step=0),
        network=SimpleNamespace(peer_id=B),
        progress=SimpleNamespace(records=lambda: records),
        reporter=SimpleNamespace(exporter=SimpleNamespace(detail="")),
    )
    late.kept = lambda: Latecomer.kept(late)
    began = time.monotonic()
    Latecomer.lose_patience(late)
    assert late.leave.reason == "nothing came"
    return time.monotonic() - began


def test_it_waits_for_those_who_say_that_they_have_it() -> None:
    assert seconds_of_patience({A: record("trainer", "finished", 40), B: record("assistant", "downloading")}) >= 0.5


@pytest.mark.parametrize("role", ["seed", "trainer"])
def test_it_does_not_wait_for_those_who_have_gone(role: str) -> None:
    gone = record(role, "finished" if role == "seed" else "leaving", 40)
    assert seconds_of_patience({A: gone, B: record("assistant", "downloading")}) < 0.4
