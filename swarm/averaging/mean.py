"""The average as one float32 vector in memory: what an averager without an encoded form hands over.

The squared norm is the same double on every CPU: squares of float32 are exact in float64; they are added in a fixed
tree (halves of a block onto each other, element by element, so no reduction whose order a vector unit could choose);
and `math.fsum` adds the blocks' sums with a single rounding, in whatever order. Blocks are aligned to spans, so the
norm does not depend on how the vector is cut into spans either.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from swarm.run.schema import SPAN_UNIT

ROWS = 64  # blocks folded at once: 512 KiB of float64


class FloatMean:
    """A (size,) float32 vector in spans of `span_size`; those whose index is in `void` are no update for anybody."""

    def __init__(self, vector: np.ndarray, span_size: int, void: Collection[int] = ()) -> None:
        assert vector.dtype == np.float32, vector.dtype
        assert vector.ndim == 1, vector.shape
        assert span_size % SPAN_UNIT == 0, span_size
        self.vector = vector.view()
        self.vector.flags.writeable = False
        self.span_size = span_size
        self.void = frozenset(void)
        self.size = vector.size

    def spans(self) -> Iterator[tuple[slice, np.ndarray | None]]:
        """Every span in order with its read-only float32 values, or None where it is void."""
        for index, start in enumerate(range(0, self.size, self.span_size)):
            span = slice(start, min(start + self.span_size, self.size))
            yield span, None if index in self.void else self.vector[span]

    def squared_norm(self) -> float:
        """Sum of squares over the committed spans; NaN or infinity if a value is."""
        sums: list[float] = []
        for _, values in self.spans():
            if values is not None:
                sums += block_squares(values)
        return math.fsum(sums) if all(map(math.isfinite, sums)) else math.nan


def block_squares(values: np.ndarray) -> list[float]:
    """The sum of squares of each block of SPAN_UNIT values (the last one is padded with zeros), as doubles."""
    sums: list[float] = []
    for start in range(0, values.size, ROWS * SPAN_UNIT):
        part = values[start : start + ROWS * SPAN_UNIT]
        squares = np.zeros(-(-part.size // SPAN_UNIT) * SPAN_UNIT, dtype=np.float64)
        squares[: part.size] = part
        np.multiply(squares, squares, out=squares)
        tree = squares.reshape(-1, SPAN_UNIT)
        while tree.shape[1] > 1:
            half = tree.shape[1] // 2
            tree = tree[:, :half] + tree[:, half:]
        sums += tree[:, 0].tolist()
    return sums
