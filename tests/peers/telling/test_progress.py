"""Whom `--wait-for` waits with."""

from __future__ import annotations

from typing import Any

from peers.telling.progress import Progress, enough
from swarm.records import ProgressRecord


def told(**fields: Any) -> ProgressRecord:
    return ProgressRecord(**{"step": 0, "state": "training", "role": "trainer", "version": "0.1.0"} | fields)


def test_who_still_gets_ready_is_not_waited_with() -> None:
    """One that had started alone would have trained before the other had read its text."""
    ready, reading = told(), told(state="assembling")
    assert not enough({"a": ready, "b": reading}, 2, 0)
    assert enough({"a": ready, "b": ready}, 2, 0)
    assert enough({"a": ready}, 1, 0)


def test_a_run_that_has_begun_is_not_waited_for() -> None:
    assert enough({"a": told(), "b": told(step=1)}, 5, 0)
    assert not enough({"a": told(step=7), "b": told(step=7)}, 5, 7), "both wait"


def test_samples_alone_are_no_reason_to_hurry() -> None:
    """A record is signed, published and the others' are read: too much for every micro-batch."""
    progress = Progress(None, "trainer")  # type: ignore[arg-type]
    progress.tell(step=3, samples=4)
    assert progress.changed.is_set()
    progress.changed.clear()
    progress.tell(step=3, samples=8)
    assert not progress.changed.is_set()
    assert progress.values == {"step": 3, "samples": 8}
    progress.tell(step=4, samples=0)
    assert progress.changed.is_set()
