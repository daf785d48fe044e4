"""Whether this process has `kernels` yet. It compiles them in a thread beside its work, and tries them first.

numba takes a second of processor time to load what it has compiled before, and four to compile it, so nobody waits for
it: until then, and wherever numba is not installed or computes other bits, numpy and torch do the same. A peer starts
it with its first commit, when it has become of use to others, and only where there is enough to compute.
"""

from __future__ import annotations

import logging
import threading
from types import ModuleType

import numpy as np

from swarm.averaging.codec.base import FLOAT32_MAX

WORTH = 2**22  # values in a vector; the arithmetic of smaller ones takes milliseconds
SIZES = (1, 255, 256, 257, 4096, 5000)
SECONDS = 60.0  # for `ready`: several times what compiling takes on a slow machine
logger = logging.getLogger(__name__)
_kernels: ModuleType | None = None
_thread: threading.Thread | None = None
_lock = threading.Lock()


def current() -> ModuleType | None:
    """`kernels`, if this process has them and they are right."""
    return _kernels


def start() -> None:
    """Get them, in a thread of their own. Only the first call does anything."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_load, name="compiling the codec")
            _thread.start()


def ready() -> bool:
    """Get them, and wait for them. False where there are none."""
    start()
    assert _thread is not None
    _thread.join(SECONDS)
    return _kernels is not None


def _load() -> None:
    global _kernels
    logging.getLogger("numba").setLevel(logging.WARNING)  # it tells ten thousand lines of what it does
    try:
        from swarm.averaging.codec import kernels
    except Exception as error:  # numba is not installed, does not fit this numpy, or cannot compile here
        logger.debug("rounds are computed without numba: %s", error)
        return
    wrong = difference(kernels)
    if wrong:
        logger.warning("numba computes other values than it should on this machine (%s); it is not used", wrong)
        return
    _kernels = kernels


def difference(kernels: ModuleType) -> str:
    """The first thing that these do otherwise than numpy and torch, or nothing."""
    from swarm.averaging.codec.coding import encode_with_feedback, squares
    from swarm.averaging.codec.frame import body_of
    from swarm.averaging.codec.int8_block import Int8Block

    known, tried = Int8Block(lambda: None), Int8Block(lambda: kernels)
    for size in SIZES:
        for name, values, owed in _samples(size):
            one, other = (encode_with_feedback(codec, values, owed) for codec in (known, tried))
            if one.frame != other.frame or not np.array_equal(one.residual, other.residual):
                return f"encoding {size} {name} values"
            body, scratch = body_of(known, size, one.frame), np.empty(size, np.float32)
            sums = [np.full(size, 0.1, np.float32), np.full(size, 0.1, np.float32)]
            for codec, out in zip((known, tried), sums, strict=True):
                codec.add(body, 1 / 3, out, scratch)
            decoded = [np.empty(size, np.float32), np.empty(size, np.float32)]
            for codec, out in zip((known, tried), decoded, strict=True):
                codec.decode(body, out)
            if not _same(*sums) or not _same(*decoded):
                return f"decoding {size} {name} values"
            if not _same(*(np.concatenate(squares(codec, one.frame, size)) for codec in (known, tried))):
                return f"squares of {size} {name} values"
    return ""


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.tobytes() == other.tobytes()


def _samples(size: int) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Values and what is owed, of every kind that a float32 can be."""
    draw = np.random.Generator(np.random.PCG64(size))
    normal = draw.standard_normal(size).astype(np.float32)
    huge = np.float32(FLOAT32_MAX) * np.tanh(normal)
    mixed = np.float32(2) ** draw.integers(-149, 128, size).astype(np.float32) * np.sign(normal)
    owed = (normal[::-1].copy() * np.float32(0.01)).view(np.uint32) >> 16
    return [
        ("normal", normal, None),
        ("owing", normal, owed.astype(np.uint16)),
        ("mixed", mixed, None),
        ("denormal", normal * np.float32(1e-41), owed.astype(np.uint16)),
        ("huge", huge, None),
        ("overflowing", huge, (huge.view(np.uint32) >> 16).astype(np.uint16)),
        ("tiny", np.where(normal > 0, np.float32(-0.0), np.float32(1e-45)), None),
    ]
