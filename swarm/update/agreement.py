"""Do the compiled kernels update as numpy does? Asked in every process before it uses them."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from swarm.compiled import none, same, samples
from swarm.run.schema import OptimizerSpec, OuterSpec
from swarm.update.adamw import AdamW
from swarm.update.adamw import Scalars as AdamWScalars
from swarm.update.nesterov import Nesterov
from swarm.update.nesterov import Scalars as NesterovScalars

SIZES = (1, 7, 64, 5000)


def difference(kernels: ModuleType) -> str:
    """The first thing that these do otherwise, or nothing."""
    for size in SIZES:
        for name, mean in samples(size).items():
            for clip in (1.0, 0.37):
                known, tried = _adamw(mean, clip, None), _adamw(mean, clip, kernels)
                if not same(known, tried):
                    return f"AdamW on {size} {name} values"
                known, tried = _nesterov(mean, clip, None), _nesterov(mean, clip, kernels)
                if not same(known, tried):
                    return f"Nesterov on {size} {name} values"
    return ""


def _adamw(mean: np.ndarray, clip: float, kernels: ModuleType | None) -> np.ndarray:
    """The state after two updates, (3, size), with weights that decay and others."""
    size, state = len(mean), _state(len(mean))
    decayed = [slice(0, size // 3), slice(size // 2, size - 1)] if size > 1 else []
    rule = AdamW(decayed, (lambda *arrays: kernels) if kernels else none)
    with np.errstate(all="ignore"):
        for step in range(2):
            scalars = AdamWScalars.of(OptimizerSpec(), step, 1e-3, clip)
            rule.update(slice(0, size), mean, (state[0], state[1], state[2]), scalars)
    return state


def _nesterov(mean: np.ndarray, clip: float, kernels: ModuleType | None) -> np.ndarray:
    state, rule = _state(len(mean))[:2], Nesterov((lambda *arrays: kernels) if kernels else none)
    with np.errstate(all="ignore"):
        for rate in (0.7, 0.35):
            rule.update(slice(0, len(mean)), mean, (state[0], state[1]), NesterovScalars.of(OuterSpec(), rate, clip))
    return state


def _state(size: int) -> np.ndarray:
    kinds = samples(size)
    with np.errstate(all="ignore"):
        return np.stack([kinds["normal"], kinds["mixed"] * np.float32(1e-3), np.square(kinds["normal"])])
