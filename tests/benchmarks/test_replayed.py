"""Replayed computing stands in for the real one in the works of both modes, and takes the time it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.replayed import Replayed, Samples
from benchmarks.run import filled
from peers.training.local_work import LocalWork
from peers.training.overlapped_work import OverlappedWork
from peers.training.work import GradientWork
from swarm.averaging.averager import Averaged, Member
from swarm.averaging.mean import FloatMean
from swarm.model.bloom import model_from_vector
from swarm.model.initial import initial_vector
from swarm.model.memory import MicroBatch
from swarm.state.shared import SharedState

MODEL = {"vocab_size": 512, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 16}


class Alone:
    """An averager that wants three samples."""

    def due(self, step: int, samples: int) -> bool:
        return samples >= 3

    def roster(self) -> tuple[str, ...]:
        return ("one",)


@pytest.mark.parametrize(
    ("training", "kind"),
    [
        ({"mode": "gradient"}, GradientWork),
        ({"mode": "gradient", "overlap": True}, OverlappedWork),
        ({"mode": "local"}, LocalWork),
    ],
)
def test_each_mode_trains_on_it(training: dict[str, Any], kind: Any) -> None:
    local = {"inner_steps": 3, "inner_batch": 1, "overlap": False}
    length = {"steps": 10, "global_batch": 3, "local": local}
    manifest = filled(
        {"name": "replayed", "model": MODEL, "training": training | length, "optimizer": {"warmup_steps": 0}}
    )
    state = SharedState.initial(manifest, initial_vector(manifest.model))
    compute = Replayed(model_from_vector(manifest.model, state.parameters), state.layout, sample_seconds=0.001)
    parts: dict[str, Any] = {"micro_batch": MicroBatch(1, print), "tell": lambda samples: None}
    if kind is LocalWork:
        work = LocalWork(manifest, state, compute, compute, Samples(), **parts)  # type: ignore[arg-type]
    else:
        work = kind(state, compute, Samples(), **parts)
    for step in range(2):
        before = state.parameters.copy()
        gift = work.contribution(step, Alone())
        assert gift.samples == 3
        assert np.isfinite(gift.vector).all()
        outcome = Averaged(step, FloatMean(gift.vector, state.span_size), (Member("one", 3, 3.0),))
        state.apply(outcome)
        work.update(outcome)
        assert not np.array_equal(before, state.parameters)
    assert compute.computed == pytest.approx(0.006)
