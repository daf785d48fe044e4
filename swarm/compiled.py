"""Which kernels this process has: modules that do in one pass over the values what numpy and torch do in several.

A package that has some (`codec`, `update`) holds them in `kernels`, compiled by numba, and in `agreement` a function
that compares them with what numpy and torch compute. numba takes a second of processor time to load what it has
compiled before, and five to compile it, so nobody waits for it: it is done in a thread beside the work. Until then, and
wherever numba is not installed or computes other bits, numpy and torch do the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

Source = Callable[..., ModuleType | None]  # `Kernels`, or what stands for them
WORTH = 2**22  # values in a vector; the arithmetic of smaller ones takes milliseconds
SECONDS = 60.0  # for `ready`: several times what compiling takes on a slow machine
logger = logging.getLogger(__name__)


class EndingError(Exception):
    """The process ends: there is nothing more to compile for."""


class Kernels:
    """Those of one package; a call gives its module `kernels`, once there is one."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: ModuleType | None = None
        _known.append(self)

    def __call__(self, *arrays: np.ndarray) -> ModuleType | None:
        """None also where one of these is strided or lies at an odd address, as kernels take none."""
        fit = all(array.flags.c_contiguous and array.flags.aligned for array in arrays)
        return self.found if fit else None

    def load(self) -> None:
        """Compile them, and take them if they compute what they should."""
        try:
            kernels = import_module(f"{self.package}.kernels")
            wrong = import_module(f"{self.package}.agreement").difference(kernels)
        except Exception as error:  # numba is not installed, does not fit this numpy, or cannot compile or run here
            logger.debug("%s goes on without numba: %s", self.package, error)
            return
        if wrong:
            logger.warning("numba computes other values than it should on this machine (%s); it is not used", wrong)
        else:
            self.found = kernels


_known: list[Kernels] = []
_thread: threading.Thread | None = None
_lock = threading.Lock()


def none(*arrays: np.ndarray) -> None:
    """In the place of `Kernels`: by numpy and torch."""


def start() -> None:
    """Get what there is, in a thread of its own. Only the first call does anything."""
    global _thread
    assert _known, "nothing that has kernels is imported yet, and it would not be asked for again"
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_load, name="compiling kernels")
            _thread.start()


def ready() -> bool:
    """Get what there is, and wait for it. False where something is lacking."""
    start()
    assert _thread is not None
    _thread.join(SECONDS)
    return all(kernels() is not None for kernels in _known)


def _load() -> None:
    logging.getLogger("numba").setLevel(logging.WARNING)  # it tells ten thousand lines of what it does
    for kernels in _known:
        kernels.load()


def machine_code(*arguments: Any, **options: Any) -> Callable[[Callable], Callable]:
    """A decorator: compile for arguments of these types, or take what an earlier process of this user has compiled.

    Where nothing can be kept on disk, because no folder may be written, every process compiles for itself. A process
    that ends does not wait for more than the function under way.
    """
    from numba import njit

    def decorate(function: Callable) -> Callable:
        if not threading.main_thread().is_alive():
            raise EndingError
        try:
            return njit([arguments], nogil=True, error_model="numpy", cache=True, **options)(function)
        except RuntimeError:
            return njit([arguments], nogil=True, error_model="numpy", **options)(function)

    return decorate


def read(of: Any) -> Any:
    """numba's type of a contiguous array that is only read."""
    from numba import types

    return types.Array(of, 1, "C", readonly=True)


def written(of: Any) -> Any:
    """numba's type of a contiguous array that is written."""
    from numba import types

    return types.Array(of, 1, "C")


def samples(size: int) -> dict[str, np.ndarray]:
    """(size,) float32 values of every kind, to compare kernels with."""
    draw = np.random.Generator(np.random.PCG64(size))
    normal = draw.standard_normal(size).astype(np.float32)
    mixed = np.float32(2) ** draw.integers(-149, 128, size).astype(np.float32) * np.sign(normal)
    return {
        "normal": normal,
        "mixed": mixed,
        "denormal": normal * np.float32(1e-41),
        "huge": np.finfo(np.float32).max * np.tanh(normal),
        "tiny": np.where(normal > 0, np.float32(-0.0), np.float32(1e-45)),
    }


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """The same bits."""
    return one.tobytes() == other.tobytes()
