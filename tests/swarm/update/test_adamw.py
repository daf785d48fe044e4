"""The reference update against torch's AdamW, and against itself however the vector is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from swarm.run.schema import OptimizerSpec
from swarm.update import adamw
from swarm.update.adamw import AdamW, Scalars
from swarm.update.clip import clip_factor
from swarm.update.schedule import learning_rate

SIZE = 100_003
STEPS = 30
SPEC = OptimizerSpec(learning_rate=1e-2, warmup_steps=5, weight_decay=0.1)


def gradients(step: int) -> np.ndarray:
    return np.random.default_rng(step).standard_normal(SIZE, dtype=np.float32)


def run(spans: list[slice], decayed: list[slice], steps: int = STEPS) -> tuple[np.ndarray, ...]:
    vectors = (gradients(999), np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32))
    kernel = AdamW(decayed)
    for step in range(steps):
        scalars = Scalars.of(SPEC, step, learning_rate(SPEC, step, STEPS), 1.0)
        for span in spans:
            kernel.update(span, gradients(step)[span], vectors, scalars)
    return vectors


def test_it_is_torchs_adamw_within_rounding() -> None:
    """Few units in the last place after 30 steps; torch rounds differently itself between CPUs."""
    matrix, bias = slice(0, 90_000), slice(90_000, SIZE)
    ours = run([slice(0, SIZE)], [matrix])[0]
    start = gradients(999)
    parameters = [torch.tensor(start[part], requires_grad=True) for part in (matrix, bias)]
    groups = [{"params": parameters[:1], "weight_decay": 0.1}, {"params": parameters[1:], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1.0, betas=(SPEC.beta1, SPEC.beta2), eps=SPEC.epsilon, foreach=False)
    for step in range(STEPS):
        for group in reference.param_groups:
            group["lr"] = learning_rate(SPEC, step, STEPS)
        for parameter, part in zip(parameters, (matrix, bias)):
            parameter.grad = torch.from_numpy(gradients(step)[part])
        reference.step()
    theirs = torch.cat([p.detach() for p in parameters]).numpy()
    moved = np.abs(theirs - start).max()
    assert moved > 0.1
    assert np.abs(ours - theirs).max() < 8 * np.spacing(np.float32(1.0))
    assert np.median(np.abs(ours - theirs) / np.spacing(np.abs(theirs))) <= 1


def test_the_result_does_not_depend_on_how_the_vector_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    decayed = [slice(0, 50_001), slice(50_002, 50_005), slice(77_777, 99_000)]
    whole = run([slice(0, SIZE)], decayed, steps=4)
    cuts = [0, 1, 1025, 33_333, 50_003, 77_778, SIZE]
    split = run([slice(a, b) for a, b in pairwise(cuts)], decayed, steps=4)
    monkeypatch.setattr(adamw, "BLOCK", 1000)
    small = run([slice(0, SIZE)], decayed, steps=4)
    for one, other, third in zip(whole, split, small):
        assert one.tobytes() == other.tobytes() == third.tobytes()


def test_only_the_decayed_parts_decay() -> None:
    parameters = np.ones(10, np.float32)
    vectors = (parameters, np.zeros(10, np.float32), np.zeros(10, np.float32))
    scalars = Scalars.of(OptimizerSpec(weight_decay=0.5), 0, 0.1, 1.0)
    AdamW([slice(2, 4), slice(6, 10)]).update(slice(1, 9), np.zeros(8, np.float32), vectors, scalars)
    kept = np.float32(1 - 0.1 * 0.5)
    assert parameters.tolist() == [1, 1, kept, kept, 1, 1, kept, kept, kept, 1]


def test_the_gradient_is_not_changed_and_values_outside_the_span_are_not_touched() -> None:
    gradient = np.full(4, 2.0, np.float32)
    gradient.flags.writeable = False
    vectors = tuple(np.ones(10, np.float32) for _ in range(3))
    AdamW([slice(0, 10)]).update(slice(3, 7), gradient, vectors, Scalars.of(OptimizerSpec(), 3, 0.1, 0.25))
    for vector in vectors:
        assert (vector[:3] == 1).all()
        assert (vector[7:] == 1).all()
        assert (vector[3:7] != 1).all()


def test_clipping_scales_to_the_norm_and_never_up() -> None:
    assert clip_factor(0.0, 1.0) == 1.0
    assert clip_factor(0.25, 1.0) == 1.0
    assert clip_factor(16.0, 1.0) == 0.25
    for bad in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError):
            clip_factor(bad, 1.0)


def test_warm_up_peak_and_end_of_the_schedule() -> None:
    spec = OptimizerSpec(learning_rate=1.0, warmup_steps=4, final_fraction=0.1)
    rates = [learning_rate(spec, step, 20) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[19] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert learning_rate(spec, 10_000, 20) == rates[19]
    assert learning_rate(OptimizerSpec(learning_rate=1.0, warmup_steps=0), 0, 1) == 1.0
