"""`float16@1`: half precision with one power of two per piece, for runs that can afford 2 bytes a value.

Plain float16 turns gradients below 6e-8 into zeros and overflows above 65,504. A shift of the whole piece, so that
its largest magnitude lies just below 2^15, costs two bytes and is exact.

Bytes of a piece: the exponent, little-endian int16, then the values (size,) little-endian float16. The decoded
value is value x 2^exponent, exact in float32.
"""

from __future__ import annotations

import numpy as np

from swarm.averaging.codec.base import Codec, first_non_finite
from swarm.averaging.codec.errors import CodecError, NonFiniteError

CEILING = 32752.0  # the largest float16 below 2^15
LOWEST, HIGHEST = -102, 113  # exponents: the smallest float16 is 2^-24, so nothing decoded is denormal; nor infinite


class Float16(Codec):
    """2 bytes a value, relative error at most 2^-11 down to 2^-29 of the piece's largest magnitude."""

    name = "float16"
    version = 1

    def wire_bytes(self, size: int) -> int:
        return 2 + 2 * size

    def encode(self, values: np.ndarray, out: np.ndarray) -> None:
        largest = float(np.maximum(values.max(initial=0), -values.min(initial=0)))
        if not np.isfinite(largest):
            found = first_non_finite(values)
            assert found is not None
            raise NonFiniteError(*found)
        exponent = _exponent(largest)
        shifted = np.clip(_shift(values, -exponent), -CEILING, CEILING)
        out[:2].view("<i2")[:] = exponent
        out[2:].view("<f2")[:] = shifted

    def decode(self, body: np.ndarray, out: np.ndarray) -> None:
        exponent = int(body[:2].view("<i2")[0])
        np.copyto(out, body[2:].view("<f2"))
        if not LOWEST <= exponent <= HIGHEST:
            raise CodecError(f"{self.label}: exponent {exponent} is out of range; the bytes are damaged")
        if not (out.max(initial=0) <= CEILING and out.min(initial=0) >= -CEILING):  # false for NaN too
            raise CodecError(f"{self.label}: a value is above {CEILING:.0f} or not a number; the bytes are damaged")
        np.multiply(out, np.float32(2.0**exponent), out=out)

    def error_bound(self, values: np.ndarray) -> np.ndarray:
        """Half a unit in the last place (2^-11), and half the smallest float16 for small values."""
        largest = float(np.abs(values).max(initial=0))
        return np.abs(values.astype(np.float64)) * 2.0**-11 + 2.0 ** (_exponent(largest) - 25) * (largest > 0)


def _exponent(largest: float) -> int:
    """The power of two that brings `largest` into [2^14, 2^15)."""
    return int(np.clip(int(np.frexp(largest)[1]) - 15, LOWEST, HIGHEST))


def _shift(values: np.ndarray, exponent: int) -> np.ndarray:
    """values x 2^exponent, rounded at most once."""
    return np.multiply(values, np.float32(2.0**exponent))
