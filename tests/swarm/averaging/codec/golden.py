"""One digest of frames, decoded values, norms, residuals and means, the same wherever it is computed."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from swarm.averaging.aggregator import WeightedMean, reduce_span
from swarm.averaging.codec import CODECS, PIECE, decode, encode_with_feedback, squares
from swarm.model.initial import draw_normal

SIZE = PIECE + 5003  # two pieces, the second no multiple of any block or vector width
DIGEST = "f70d37a2c0ecd1f87e060b945c03fa630c8bd625c9c4fcbddd6755bc88622c55"


@cache
def vector(name: str) -> np.ndarray:
    """(SIZE,) float32, not to be changed: normal values over 60 powers of ten, with zeros and denormals."""
    values = np.empty(SIZE, np.float32)
    draw_normal(values, f"golden codec {name}", 1.0)
    with np.errstate(under="ignore"):
        values[::5] *= np.float32(1e-20)
        values[1000:9000] *= np.float32(1e-38)
    values[20_000:30_000] *= np.float32(1e30)
    values[::13] = 0
    values.flags.writeable = False
    return values


def golden() -> str:
    """SHA-256 over everything that members compute from the same values and frames."""
    hasher = hashlib.sha256()
    for codec in CODECS:
        sent = []
        for sender in range(3):
            first = encode_with_feedback(codec, vector(f"{sender} first"), None)
            second = encode_with_feedback(codec, vector(f"{sender} second"), first.residual)
            hasher.update(second.frame)
            hasher.update(second.residual.astype("<u2").tobytes())
            sent.append((second.frame, 1.0 + sender))
        mean = reduce_span(codec, WeightedMean(), SIZE, sent, 6.0, residual=first.residual)
        hasher.update(mean.frame)
        hasher.update(mean.residual.astype("<u2").tobytes())
        hasher.update(decode(codec, mean.frame, SIZE).astype("<f4").tobytes())
        for sums in squares(codec, mean.frame, SIZE):
            hasher.update(sums.astype("<f8").tobytes())
    return hasher.hexdigest()
