"""`none@1`: float32 as it is, little-endian. For tests, for tiny models, and as the reference of the others."""

from __future__ import annotations

import numpy as np

from swarm.averaging.codec.base import Codec, first_non_finite
from swarm.averaging.codec.errors import CodecError, NonFiniteError


class Plain(Codec):
    """4 bytes a value, no error. Denormals travel as they are; what follows must not flush them."""

    name = "none"
    version = 1

    def wire_bytes(self, size: int) -> int:
        return 4 * size

    def encode(self, values: np.ndarray, out: np.ndarray) -> None:
        if found := first_non_finite(values):
            raise NonFiniteError(*found)
        out.view("<f4")[:] = values

    def decode(self, body: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, body.view("<f4"))
        if not np.isfinite(out).all():
            raise CodecError(f"{self.label}: a value is not finite; the bytes are damaged")

    def error_bound(self, values: np.ndarray) -> np.ndarray:
        return np.zeros(len(values))
