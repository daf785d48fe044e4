"""The float32 mean: its spans, and a norm that is exact and does not depend on the cut."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from swarm.averaging.mean import FloatMean


def vector(size: int) -> np.ndarray:
    return np.random.default_rng(size).standard_normal(size, dtype=np.float32)


@pytest.mark.parametrize("size", [1, 1023, 1024, 5000, 70_001])
def test_the_norm_is_that_of_exact_arithmetic_within_a_double(size: int) -> None:
    values = vector(size)
    exact = float(sum(Fraction(float(value)) ** 2 for value in values))
    assert math.isclose(FloatMean(values, 1024).squared_norm(), exact, rel_tol=1e-15)


def test_the_norm_does_not_depend_on_the_spans() -> None:
    values = vector(200_001)
    norms = {FloatMean(values, span).squared_norm() for span in (1024, 4096, 65_536, 1 << 18)}
    assert len(norms) == 1


def test_void_spans_have_no_values_and_no_part_in_the_norm() -> None:
    values = np.ones(2500, np.float32)
    mean = FloatMean(values, 1024, void={1})
    spans = list(mean.spans())
    assert [(span.start, span.stop) for span, _ in spans] == [(0, 1024), (1024, 2048), (2048, 2500)]
    assert [part is None for _, part in spans] == [False, True, False]
    assert mean.squared_norm() == 1024 + 452


def test_the_values_cannot_be_changed_through_the_mean() -> None:
    values = np.ones(1024, np.float32)
    ((_, part),) = FloatMean(values, 1024).spans()
    assert part is not None
    with pytest.raises(ValueError):
        part[0] = 2.0
    values[0] = 3.0  # the owner still may


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_shows_in_the_norm(bad: float) -> None:
    values = np.ones(3000, np.float32)
    values[1500] = bad
    assert not math.isfinite(FloatMean(values, 1024).squared_norm())


def test_huge_and_denormal_values() -> None:
    values = np.array([3e38, 1e-45, 0.0], np.float32)
    assert FloatMean(values, 1024).squared_norm() == float(values[0]) ** 2
    assert FloatMean(values[1:], 1024).squared_norm() == float(values[1]) ** 2 > 0
