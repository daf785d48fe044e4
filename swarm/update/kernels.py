"""AdamW and Nesterov's outer step in one pass, compiled by numba.

The operations are those of `adamw` and `nesterov`, in their order, each rounded on its own: numba fuses and reorders
nothing unless it is told to.
"""

from __future__ import annotations

import numpy as np
from numba import types

from swarm.compiled import machine_code, read, written

ARRAY, SCALAR = written(types.float32), types.float32


@machine_code(ARRAY, ARRAY, ARRAY, read(types.float32), *[SCALAR] * 9)
def adamw(
    parameters: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    gradient: np.ndarray,
    clip: np.float32,
    beta1: np.float32,
    one_minus_beta1: np.float32,
    beta2: np.float32,
    one_minus_beta2: np.float32,
    second_correction: np.float32,
    epsilon: np.float32,
    step_size: np.float32,
    keep: np.float32,
) -> None:
    """Arrays: (n,). keep: 1 where no weight decays. Scalars as of `adamw.Scalars`."""
    for i in range(len(parameters)):
        clipped = gradient[i] * clip
        one = first[i] * beta1 + clipped * one_minus_beta1
        two = second[i] * beta2 + clipped * clipped * one_minus_beta2
        first[i] = one
        second[i] = two
        parameters[i] = parameters[i] * keep - one / (np.sqrt(two) / second_correction + epsilon) * step_size


@machine_code(ARRAY, ARRAY, read(types.float32), *[SCALAR] * 3)
def nesterov(
    parameters: np.ndarray,
    momentum: np.ndarray,
    mean: np.ndarray,
    clip: np.float32,
    decay: np.float32,
    rate: np.float32,
) -> None:
    """Arrays: (n,). decay: the momentum's factor. Scalars as of `nesterov.Scalars`."""
    for i in range(len(parameters)):
        clipped = mean[i] * clip
        moved = momentum[i] * decay + clipped
        momentum[i] = moved
        parameters[i] = parameters[i] - (moved * decay + clipped) * rate
