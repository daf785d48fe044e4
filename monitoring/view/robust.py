"""Figures over claims of strangers: medians and percentiles, and sums in which nobody counts for too much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

CAP = 20.0  # nobody counts for more than this many times the median


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The smallest value with at least `percent` of them at or below it; a value that somebody gave, or None."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Iterable[float]) -> float | None:
    """The lower of the two in the middle: of two peers, the one who claims less."""
    return percentile(values, 50)


def cap_of(values: Iterable[float]) -> float:
    """The most that one of them may count for; infinite where there is nothing to compare with."""
    positive = [value for value in values if value > 0]
    middle = median(positive)
    return math.inf if middle is None or len(positive) < 3 else CAP * middle


def capped_sum(values: Sequence[float]) -> float:
    cap = cap_of(values)
    return math.fsum(min(value, cap) for value in values)
