"""What a codec is: pure functions between one piece of float32 values and its bytes.

A span is cut into pieces of `PIECE` values (the last may be shorter) that are coded one after another, so that
everything a piece needs stays in the processor's cache and nobody ever needs a second copy of a span. Pieces are
part of the wire format. A codec sees one piece at a time and knows nothing of frames, spans, residuals or peers.

Whatever is decoded must be the same bits on every machine: one rounded float32 operation per value, no sums, no
denormal results (a processor may flush them), no infinities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

PIECE = 2**18  # values; 1 MiB as float32
BLOCK = 256  # values that share a sum in `squares`, and a scale in the int8 codec
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Codec(ABC):
    """One way to write float32 values as bytes. Instances have no state."""

    name: str
    version: int

    @property
    def label(self) -> str:
        """How the manifest names it: "int8-block@1"."""
        return f"{self.name}@{self.version}"

    @abstractmethod
    def wire_bytes(self, size: int) -> int:
        """Bytes of a piece of `size` values, whatever they are."""

    @abstractmethod
    def encode(self, values: np.ndarray, out: np.ndarray) -> None:
        """Write `values` (size,) float32 as `out` (wire_bytes(size),) uint8.

        Raises NonFiniteError (index within the piece) for NaN and infinities; every finite float32 must work.
        """

    @abstractmethod
    def decode(self, body: np.ndarray, out: np.ndarray) -> None:
        """Read `body` (wire_bytes(size),) uint8 into `out` (size,) float32, all finite.

        Raises CodecError for bytes that `encode` cannot have written.
        """

    def encode_both(self, values: np.ndarray, out: np.ndarray, back: np.ndarray) -> None:
        """`encode`, and what `decode` makes of it in `back` (size,) float32. Here: one after the other."""
        self.encode(values, out)
        self.decode(out, back)

    def encode_owed(
        self, values: np.ndarray, owed: np.ndarray | None, out: np.ndarray, left: np.ndarray, *, measure: bool
    ) -> np.ndarray | None:
        """Encode values + owed and write what that loses to `left`, all in one, the same bits as step by step.

        values: (size,) float32. owed, left: (size,) uint16, bfloat16 bits. Returns the sums of total x total, lost x
        lost and total x decoded, (3,) float64, zeros if nobody is to `measure` them; or None, and then `out` and `left`
        are undefined, where this cannot be done, or the values need a closer look. Here: never.
        """
        return None

    def add(self, body: np.ndarray, share: float, out: np.ndarray, scratch: np.ndarray) -> None:
        """Add `share` times the decoded values to `out` (size,) float32, the same bits on every machine.

        scratch: (size,) float32, overwritten. Raises as `decode`.
        """
        self.decode(body, scratch)
        np.multiply(scratch, np.float32(share), out=scratch)
        np.add(out, scratch, out=out)

    def check(self, body: np.ndarray, size: int) -> None:
        """Raise CodecError where `decode` would."""
        self.decode(body, np.empty(size, np.float32))

    @abstractmethod
    def error_bound(self, values: np.ndarray) -> np.ndarray:
        """The largest |value - decoded| for each of `values` (size,) float32, as (size,) float64."""

    def squares(self, body: np.ndarray, size: int) -> np.ndarray:
        """Sums of squares of the decoded values, (blocks,) float64, the same bits on every machine.

        Here: exact squares in double, added in one fixed order.
        """
        decoded = np.empty(size, np.float32)
        self.decode(body, decoded)
        return block_squares(decoded)


def block_squares(values: np.ndarray) -> np.ndarray:
    """Sums of squares of blocks of `values` (size,) float32, (blocks,) float64, in a fixed order of additions.

    A library's own sum may add in another order on another processor; element-wise additions cannot.
    """
    sums = np.zeros((-(-len(values) // BLOCK), BLOCK))
    sums.reshape(-1)[: len(values)] = values
    np.multiply(sums, sums, out=sums)
    width = BLOCK // 2
    while width:
        sums = sums[:, :width] + sums[:, width : 2 * width]
        width //= 2
    return sums[:, 0]


def pieces(size: int) -> Iterator[slice]:
    """The pieces of a span of `size` values, in order."""
    for start in range(0, size, PIECE):
        yield slice(start, min(start + PIECE, size))


def writable(values: np.ndarray) -> np.ndarray:
    """`values` or, where they are read-only or strided, a copy: torch takes only arrays it could write to."""
    return values if values.flags.writeable and values.flags.c_contiguous else values.copy()


def first_non_finite(values: np.ndarray) -> tuple[int, float] | None:
    """Index and value of the first NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(values))
    return (int(bad[0]), float(values[bad[0]])) if len(bad) else None
