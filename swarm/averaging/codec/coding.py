"""Spans to frames and back, piece by piece, with error feedback as pure functions.

Error feedback (Seide et al. 2014, 1-bit SGD; Karimireddy et al. 2019): what the encoding of one round lost is added
to the next round's values, so that nothing is lost for good. A residual is kept as bfloat16, its bits in a numpy
uint16 array: two bytes a value, and the 0.4 % that rounding it may lose is 0.4 % of an error that is itself small.

Nothing here remembers anything. A residual is *tentative* until the round is certified; the caller adopts it, or
keeps the old one. To save memory the caller may drop the tentative one and compute the same bits again after the
outcome, in place, with `residual_after`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from swarm.averaging.codec.base import FLOAT32_MAX, PIECE, Codec, pieces, writable
from swarm.averaging.codec.errors import NonFiniteError
from swarm.averaging.codec.frame import new_frame, open_frame, seal

Frame = bytes | memoryview
Source = Callable[[slice, bool], tuple[np.ndarray, np.ndarray | None]]  # (part of the span, cut what overflows)


@dataclass(frozen=True)
class Quality:
    """How well frames stand for what was encoded. Sums, so that those of spans and of pieces add up."""

    squared_value: float = 0.0
    squared_error: float = 0.0
    product: float = 0.0  # of values and decoded values

    def __add__(self, other: Quality) -> Quality:
        return Quality(
            self.squared_value + other.squared_value,
            self.squared_error + other.squared_error,
            self.product + other.product,
        )

    @property
    def relative_error(self) -> float:
        """L2 norm of the error over that of the values; 0 where all values are zero."""
        return math.sqrt(self.squared_error / self.squared_value) if self.squared_value else 0.0

    @property
    def cosine(self) -> float:
        """Cosine of the angle between values and decoded values; 1 where all values are zero, 0 where all were lost."""
        squared_decoded = self.squared_error - self.squared_value + 2 * self.product
        if not self.squared_value:
            return 1.0
        return self.product / math.sqrt(self.squared_value * squared_decoded) if squared_decoded > 0 else 0.0


@dataclass(frozen=True)
class Encoded:
    """A frame, what its encoding lost (size,) uint16 bfloat16 bits, and how good it is."""

    frame: Frame
    residual: np.ndarray
    quality: Quality


def encode(codec: Codec, values: np.ndarray) -> bytes:
    """The frame of `values` (size,) float32. NonFiniteError (index within `values`) for NaN and infinities."""
    frame, body = new_frame(codec, len(values))
    start = 0
    for part in pieces(len(values)):
        stop = start + codec.wire_bytes(part.stop - part.start)
        _encode_piece(codec, values[part], body[start:stop], part.start)
        start = stop
    return bytes(seal(codec, len(values), frame))


def decode(codec: Codec, frame: Frame, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """The values of a frame that must be of `codec` and hold `size` values: `out` or a new array, (size,) float32.

    The same bits on every machine. CodecError for every other sequence of bytes, before memory is taken for the
    values or, for damage that only shows inside, with `out` partly written.
    """
    body = open_frame(codec, size, frame)
    if out is None:
        out = np.empty(size, np.float32)
    assert out.shape == (size,), out.shape
    assert out.dtype == np.float32, out.dtype
    start = 0
    for part in pieces(size):
        stop = start + codec.wire_bytes(part.stop - part.start)
        codec.decode(body[start:stop], out[part])
        start = stop
    return out


def check(codec: Codec, frame: Frame, size: int) -> None:
    """Raise CodecError where `decode` would, without decoding."""
    body = open_frame(codec, size, frame)
    start = 0
    for part in pieces(size):
        stop = start + codec.wire_bytes(part.stop - part.start)
        codec.check(body[start:stop], part.stop - part.start)
        start = stop


def squares(codec: Codec, frame: Frame, size: int) -> list[np.ndarray]:
    """Block sums of squares of the decoded values, float64, the same bits everywhere; checks the frame like `decode`.

    `math.fsum` over all blocks of all spans is then the same double for everyone, however the spans are cut.
    """
    body = open_frame(codec, size, frame)
    sums, start = [], 0
    for part in pieces(size):
        stop = start + codec.wire_bytes(part.stop - part.start)
        sums.append(codec.squares(body[start:stop], part.stop - part.start))
        start = stop
    return sums


def squared_norm(codec: Codec, frame: Frame, size: int) -> float:
    """Sum of squares of one frame's values, correctly rounded from the block sums."""
    return math.fsum(term for sums in squares(codec, frame, size) for term in sums.tolist())


def encode_with_feedback(
    codec: Codec, values: np.ndarray, residual: np.ndarray | None, *, out: np.ndarray | None = None
) -> Encoded:
    """Encode values + residual; both stay as they are.

    values: (size,) float32. residual: (size,) uint16, bfloat16 bits, or None for zeros. out: memory for the new one.
    Raises NonFiniteError (index within `values`) for NaN and infinities in either.
    """

    def source(part: slice, cut: bool) -> tuple[np.ndarray, np.ndarray | None]:
        return values[part], None if residual is None else residual[part]

    return encode_pieces(codec, len(values), source, out)


def encode_pieces(
    codec: Codec, size: int, source: Source, out: np.ndarray | None = None, *, measure: bool = True
) -> Encoded:
    """Encode the values and the residual that `source` has for each piece, and keep what that loses.

    out: memory for the residual. measure: tell the quality too, an eighth of the time.
    """
    frame, body = new_frame(codec, size)
    residual = np.empty(size, np.uint16) if out is None else out
    quality, start = Quality(), 0
    steps = _Steps(codec, source, measure)
    for part in pieces(size):
        piece = body[start : start + codec.wire_bytes(part.stop - part.start)]
        values, owed = source(part, False)
        sums = codec.encode_owed(values, owed, piece, residual[part], measure=measure)
        if sums is None or (measure and not _in_range(sums)):
            quality += steps.encode(part, piece, residual[part])
        elif measure:
            quality += Quality(*sums.tolist())
        start += len(piece)
    return Encoded(seal(codec, size, frame), residual, quality)


class _Steps:
    """One piece after the other, step by step, in the same scratch memory."""

    def __init__(self, codec: Codec, source: Source, measure: bool) -> None:
        self.codec, self.source, self.measure = codec, source, measure
        self.scratch = np.empty((2, 0), np.float32)

    def encode(self, part: slice, piece: np.ndarray, residual: np.ndarray) -> Quality:
        """Write the piece and what it loses. NonFiniteError (index within the span)."""
        length = part.stop - part.start
        if self.scratch.shape[1] < length:
            self.scratch = np.empty((2, length), np.float32)
        total, back = self.scratch[0, :length], self.scratch[1, :length]
        add_residual(*self.source(part, False), total, cut=False)
        try:
            self.codec.encode_both(total, piece, back)
        except NonFiniteError:  # perhaps only a sum that overflowed
            add_residual(*self.source(part, True), total, cut=True)
            try:
                self.codec.encode_both(total, piece, back)
            except NonFiniteError as error:
                raise error.shifted(part.start) from None
        product = _dot(total, back) if self.measure else 0.0
        _settle(total, back, residual)
        return _quality(total, back, product) if self.measure else Quality()


def residual_after(
    codec: Codec, values: np.ndarray, residual: np.ndarray | None, frame: Frame, out: np.ndarray | None = None
) -> np.ndarray:
    """The residual that `encode_with_feedback(codec, values, residual)` returned beside `frame`, computed again.

    `out` may be `residual` itself: then nobody holds two residuals while a round is under way.
    """
    size = len(values)
    body = open_frame(codec, size, frame)
    if out is None:
        out = np.empty(size, np.uint16)
    total, back = np.empty(min(size, PIECE), np.float32), np.empty(min(size, PIECE), np.float32)
    start = 0
    for part in pieces(size):
        length = part.stop - part.start
        stop = start + codec.wire_bytes(length)
        add_residual(values[part], None if residual is None else residual[part], total[:length], cut=True)
        codec.decode(body[start:stop], back[:length])
        _settle(total[:length], back[:length], out[part])
        start = stop
    return out


def add_residual(values: np.ndarray, residual: np.ndarray | None, out: np.ndarray, *, cut: bool) -> None:
    """out = values + residual, all of one piece.

    cut: bring sums of finite numbers that overflow back to the largest float32. A value that is not finite itself
    stays so, for the codec to refuse.
    """
    if residual is None:
        np.copyto(out, values)
        return
    total, owed = torch.from_numpy(out), bfloat16_tensor(residual)
    total.copy_(owed)
    total.add_(torch.from_numpy(writable(values)))
    if cut:
        overflowed = np.isinf(out) & np.isfinite(values) & torch.isfinite(owed).numpy()
        out[overflowed] = np.copysign(np.float32(FLOAT32_MAX), out[overflowed])


def bfloat16_tensor(bits: np.ndarray) -> torch.Tensor:
    """bfloat16 bits (n,) uint16 as a torch tensor over the same memory."""
    return torch.from_numpy(writable(bits).view(np.int16)).view(torch.bfloat16)


def _encode_piece(codec: Codec, values: np.ndarray, out: np.ndarray, start: int) -> None:
    try:
        codec.encode(values, out)
    except NonFiniteError as error:
        raise error.shifted(start) from None


def _settle(total: np.ndarray, decoded: np.ndarray, residual: np.ndarray) -> None:
    """residual <- total - decoded as bfloat16; `decoded` <- the same in float32."""
    lost = torch.from_numpy(decoded)
    torch.sub(torch.from_numpy(total), lost, out=lost)
    bfloat16_tensor(residual).copy_(lost)


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.dot(one, other))


def _quality(total: np.ndarray, lost: np.ndarray, product: float) -> Quality:
    """product: of `total` and what was decoded."""
    sums = [_dot(total, total), _dot(lost, lost), product]
    if not _in_range(sums):
        wide, error = total.astype(np.float64), lost.astype(np.float64)  # float32 squares left their range
        sums = [float(wide @ wide), float(error @ error), float(wide @ (wide - error))]
    return Quality(*sums)


def _in_range(sums: Sequence[float] | np.ndarray) -> bool:
    """Did the squares, added in float32, neither overflow nor vanish?"""
    return all(math.isfinite(item) for item in sums) and sums[0] >= 1e-30 and sums[1] >= 1e-30
