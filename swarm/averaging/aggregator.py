"""How a reducer turns the senders' spans into one: pure functions, registered by "name@version" like codecs.

A reducer holds the encoded copies, one byte a value and sender, and decodes them one piece at a time; the float32
it needs at once is a few pieces, whatever the group's and the span's size. Senders are taken in roster order, so
that anyone who holds the same frames can compute the same mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from swarm.averaging.codec.base import FLOAT32_MAX, PIECE, Codec
from swarm.averaging.codec.coding import Encoded, Frame, encode_pieces
from swarm.averaging.codec.frame import body_of
from swarm.errors import IncompatibleError

Rows = Iterator[tuple[np.ndarray, float]]


class Aggregator(ABC):
    """One way to combine the same piece of several senders. Instances have no state."""

    name: str
    version: int

    @property
    def label(self) -> str:
        """ "weighted-mean@1"."""
        return f"{self.name}@{self.version}"

    linear: ClassVar[bool] = False  # the sum of share x values: then a codec adds what it decodes, in fewer steps

    @abstractmethod
    def combine(self, rows: Rows, out: np.ndarray) -> None:
        """Write the aggregate of `rows` to `out` (n,) float32.

        rows: in roster order, at least one, (values (n,) float32, share of the total weight). A values array may be
        overwritten and is only good until the next one is drawn: copy it to keep it.
        """


class WeightedMean(Aggregator):
    """sum of share x values in float32; each share is computed in double and rounded once."""

    name = "weighted-mean"
    version = 1
    linear = True

    def combine(self, rows: Rows, out: np.ndarray) -> None:
        out.fill(0)
        for values, share in rows:
            np.multiply(values, np.float32(share), out=values)
            np.add(out, values, out=out)


AGGREGATORS: tuple[Aggregator, ...] = (WeightedMean(),)


def aggregator_named(label: str) -> Aggregator:
    """The aggregator the manifest calls `label`. IncompatibleError names it and those we have."""
    for aggregator in AGGREGATORS:
        if aggregator.label == label:
            return aggregator
    known = ", ".join(aggregator.label for aggregator in AGGREGATORS)
    raise IncompatibleError(f"the run's aggregator is {label}, this version has {known}; upgrade")


def reduce_span(
    codec: Codec,
    aggregator: Aggregator,
    size: int,
    contributions: Sequence[tuple[Frame, float]],
    total_weight: float,
    residual: np.ndarray | None = None,
) -> Encoded:
    """The encoded aggregate of one span, and the reducer's tentative residual. Its quality is not measured.

    contributions: (frame, weight) in roster order, of the senders that are included; their checksums were compared
    when they came. total_weight: the sum of their weights. residual: what this reducer still owes the span, (size,)
    uint16 bfloat16 bits, or None.
    Raises CodecError if a frame is not one of `codec` with `size` values (nothing was combined then).
    """
    mean = np.empty(min(size, PIECE), np.float32)
    combine = combination(codec, aggregator, size, contributions, total_weight)

    def source(part: slice, cut: bool) -> tuple[np.ndarray, np.ndarray | None]:
        piece = mean[: part.stop - part.start]
        combine(part, piece)
        if cut:
            np.clip(piece, -FLOAT32_MAX, FLOAT32_MAX, out=piece)  # shares may add up to a hair over 1
        return piece, None if residual is None else residual[part]

    return encode_pieces(codec, size, source, measure=False)


def combination(
    codec: Codec, aggregator: Aggregator, size: int, contributions: Sequence[tuple[Frame, float]], total_weight: float
) -> Callable[[slice, np.ndarray], None]:
    """A function that writes the aggregate of one piece of a span; arguments and errors as of `reduce_span`."""
    assert contributions, "a span without any sender is void, not reduced"
    assert all(0 <= weight <= total_weight for _, weight in contributions), total_weight
    assert total_weight > 0, total_weight
    bodies = [(body_of(codec, size, frame), weight / total_weight) for frame, weight in contributions]
    scratch, whole = np.empty(min(size, PIECE), np.float32), codec.wire_bytes(PIECE)

    def encoded(part: slice) -> Iterator[tuple[np.ndarray, float]]:
        start = part.start // PIECE * whole
        for body, share in bodies:
            yield body[start : start + codec.wire_bytes(part.stop - part.start)], share

    def rows(part: slice) -> Rows:
        values = scratch[: part.stop - part.start]
        for body, share in encoded(part):
            codec.decode(body, values)
            yield values, share

    def add(part: slice, out: np.ndarray) -> None:
        out.fill(0)
        for body, share in encoded(part):
            codec.add(body, share, out, scratch[: len(out)])

    return add if aggregator.linear else lambda part, out: aggregator.combine(rows(part), out)
