"""Do the compiled kernels compute what numpy and torch do? Asked in every process before it uses them."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from swarm.averaging.codec.coding import encode_with_feedback, squares
from swarm.averaging.codec.frame import body_of
from swarm.averaging.codec.int8_block import Int8Block
from swarm.compiled import none, same, samples

SIZES = (1, 255, 256, 257, 4096, 5000)


def difference(kernels: ModuleType) -> str:
    """The first thing that these do otherwise, or nothing."""
    both = Int8Block(none), Int8Block(lambda *arrays: kernels)
    for size in SIZES:
        for name, values in samples(size).items():
            for owed in (None, *debts(values)):
                wrong = _difference(both, values, owed)
                if wrong:
                    return f"{wrong} {size} {name} values"
    return ""


def debts(values: np.ndarray) -> list[np.ndarray]:
    """Residuals beside these values, as bfloat16 bits: as large as they are, so that sums may overflow, and smaller."""
    return [(owed.view(np.uint32) >> 16).astype(np.uint16) for owed in (values, values[::-1] * np.float32(-0.01))]


def _difference(both: tuple[Int8Block, Int8Block], values: np.ndarray, owed: np.ndarray | None) -> str:
    size = len(values)
    one, other = (encode_with_feedback(codec, values, owed) for codec in both)
    if one.frame != other.frame or not same(one.residual, other.residual):
        return "encoding"
    body, scratch = body_of(both[0], size, one.frame), np.empty(size, np.float32)
    sums, decoded = np.full((2, size), 0.1, np.float32), np.empty((2, size), np.float32)
    for codec, total, out in zip(both, sums, decoded, strict=True):
        codec.add(body, 1 / 3, total, scratch)
        codec.decode(body, out)
    if not same(*sums) or not same(*decoded):
        return "decoding"
    if not same(*(np.concatenate(squares(codec, one.frame, size)) for codec in both)):
        return "squares of"
    return ""
