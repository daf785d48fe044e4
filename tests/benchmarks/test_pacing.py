"""A paced peer computes nothing, and is for its trainer what a computing one is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from benchmarks import pacing
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.initial import initial_vector
from swarm.model.layout import Layout
from tests.swarm.averaging.live.trainees import manifest


def test_a_paced_accumulator_counts_as_a_real_one_does_and_gives_the_same_noise_again() -> None:
    model = manifest().model
    pacing.durations = iter([0.0] * 8)  # type: ignore[assignment]
    ids = np.zeros((4, model.sequence_length), np.int64)
    batch = SimpleNamespace(input_ids=ids, labels=ids, refs=[SimpleNamespace(language="en")] * 4)
    kinds = (GradientAccumulator, pacing.PacedAccumulator)
    both = [kind(model_from_vector(model, initial_vector(model)), Layout.of(model)) for kind in kinds]
    given = []
    for sums in both:
        sums.add(batch)
        given.append(sums.contribution())
        assert dict(sums.tokens) == {"en": 4 * model.sequence_length}
        assert (sums.samples, sums.languages["en"]) == (4, 4)
    assert (given[1].samples, given[1].weight) == (given[0].samples, given[0].weight)
    assert both[1].mean_loss == pacing.LOSS
    both[1].reset()
    assert both[1].mean_loss is None
    both[1].add(batch)
    np.testing.assert_array_equal(both[1].contribution().vector, given[1].vector)
