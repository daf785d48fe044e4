"""How a reducer turns the senders' spans into one: pure functions, registered by "name@version" like codecs.

A reducer holds the encoded copies, one byte a value and sender, and decodes them one piece at a time; the float32
it needs at once is a few pieces, whatever the group's and the span's size. Senders are taken in roster order, so
that anyone who holds the same frames can compute the same mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from swarm.averaging.codec.base import FLOAT32_MAX, PIECE, Codec
from swarm.averaging.codec.coding import Encoded, add_residual, encode_pieces
from swarm.averaging.codec.frame import open_frame
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
    contributions: Sequence[tuple[bytes | memoryview, float]],
    total_weight: float,
    residual: np.ndarray | None = None,
) -> Encoded:
    """The encoded aggregate of one span, and the reducer's tentative residual.

    contributions: (frame, weight) in roster order, of the senders that are included. total_weight: the sum of their
    weights. residual: what this reducer still owes the span, (size,) uint16 bfloat16 bits, or None.
    Raises CodecError if a frame is not one of `codec` with `size` values (nothing was combined then).
    """
    assert contributions, "a span without any sender is void, not reduced"
    assert all(0 <= weight <= total_weight for _, weight in contributions), total_weight
    assert total_weight > 0, total_weight
    bodies = [open_frame(codec, size, frame) for frame, _ in contributions]
    shares = [weight / total_weight for _, weight in contributions]
    scratch, mean = np.empty(min(size, PIECE), np.float32), np.empty(min(size, PIECE), np.float32)
    whole = codec.wire_bytes(PIECE)

    def rows(part: slice) -> Rows:
        length = part.stop - part.start
        start = part.start // PIECE * whole
        for body, share in zip(bodies, shares, strict=True):
            codec.decode(body[start : start + codec.wire_bytes(length)], scratch[:length])
            yield scratch[:length], share

    def fill(part: slice, out: np.ndarray, cut: bool) -> None:
        piece = mean[: part.stop - part.start]
        aggregator.combine(rows(part), piece)
        if cut:
            np.clip(piece, -FLOAT32_MAX, FLOAT32_MAX, out=piece)  # shares may add up to a hair over 1
        add_residual(piece, None if residual is None else residual[part], out, cut=cut)

    return encode_pieces(codec, size, fill)
