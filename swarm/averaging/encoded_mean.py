"""The mean of a round as its encoded bytes: a quarter of the vector's memory, decoded span by span when applied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from swarm.averaging.codec import Codec, Frame, decode, squares


class EncodedMean:
    """A `Mean` over the certified frames of a round; None stands for a void span.

    frames: one for each span in order; all spans hold `span_size` values but the last. The frames' digests are
    certified and their senders' bytes checked, so damage here is this machine's: CodecError when it is read.
    """

    def __init__(self, codec: Codec, size: int, span_size: int, frames: Sequence[Frame | None]) -> None:
        assert len(frames) == -(-size // span_size), (len(frames), size, span_size)
        self.size = size
        self._codec = codec
        self._span_size = span_size
        self._frames = tuple(frames)

    def spans(self) -> Iterator[tuple[slice, np.ndarray | None]]:
        """Every span in order with its values, a new float32 array, or None where it is void."""
        for span, frame in self._spans():
            yield span, None if frame is None else decode(self._codec, frame, span.stop - span.start)

    def squared_norm(self) -> float:
        """Sum of squares over the committed spans: exact block sums, added by `math.fsum`, the same everywhere."""
        return math.fsum(self._terms())

    def _terms(self) -> Iterator[float]:
        for span, frame in self._spans():
            if frame is not None:
                for sums in squares(self._codec, frame, span.stop - span.start):
                    yield from sums.tolist()

    def _spans(self) -> Iterator[tuple[slice, Frame | None]]:
        for index, frame in enumerate(self._frames):
            start = index * self._span_size
            yield slice(start, min(start + self._span_size, self.size)), frame
