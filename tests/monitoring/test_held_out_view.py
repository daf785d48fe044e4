"""What evaluators tell becomes one curve; other text, and steps that were not made, are left out of it."""

from __future__ import annotations

import json

from pretend_swarm import Pretend, facts, trainer

from monitoring.view.document import languages_document
from monitoring.view.held_out import MOST, Measurement, newest, remember
from monitoring.view.swarm import SwarmView
from swarm.records import ProgressRecord


def told(step: int, bits: float, text: str = "ab" * 8) -> ProgressRecord:
    changes = {"validation_step": step, "validation_text": text, "validation_by_language": {"en": bits, "xx": 1.0}}
    return trainer(0, 100, 6, 1e6, **changes)


def test_the_newest_step_counts_and_only_languages_of_the_run() -> None:
    assert newest([told(20, 3.0), told(40, 2.0), told(40, 2.2)], facts(), 45) in (
        Measurement(40, {"en": 2.0}),
        Measurement(40, {"en": 2.1}),
        Measurement(40, {"en": 2.2}),
    )
    assert newest([trainer(0, 100, 6, 1e6, validation_step=None)], facts(), 45) is None


def test_steps_that_nobody_made_or_that_are_not_due_are_not_believed() -> None:
    assert newest([told(60, 0.1), told(41, 0.1), told(20, 3.0)], facts(), 45) == Measurement(20, {"en": 3.0})


def test_figures_on_other_text_are_not_mixed_in() -> None:
    assert newest([told(40, 0.1, "cd" * 8), told(20, 3.0), told(20, 3.0)], facts(), 45) == Measurement(20, {"en": 3.0})


def test_the_curve_has_one_point_a_step_and_stays_bounded() -> None:
    curve: list[Measurement] = []
    for step in range(0, 3000, 5):
        curve = remember(curve, Measurement(step, {"en": 1.0}))
        curve = remember(curve, Measurement(step, {"en": 2.0}))
        curve = remember(curve, Measurement(step - 50, {"en": 9.0}))
        curve = remember(curve, None)
    assert len(curve) <= MOST
    assert [found.step for found in curve] == sorted({found.step for found in curve})
    assert curve[-1] == Measurement(2995, {"en": 2.0})
    assert all(found.bits_per_byte["en"] == 2.0 for found in curve)


def test_page_and_api_have_it_and_a_monitor_keeps_it_over_a_restart() -> None:
    watch = Pretend().run(45).watch
    rows = watch.read(lambda view, now, found: languages_document(view, now))["languages"]
    assert all(row["validation"] == row["validation_curve"][-1][1] for row in rows)
    assert [step for step, _ in rows[0]["validation_curve"]] == [100, 120, 140]
    view = watch.read(lambda view, now, found: view)
    again = SwarmView(view.facts, 0.0)
    again.restore(json.loads(json.dumps(view.to_dict())))
    assert again.validations == view.validations
