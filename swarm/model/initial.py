"""Initial weights that are the same bytes on every machine, by construction and not by luck.

BLOOM's initialisation: normal(0, initializer_range) for matrices and the embedding, zero biases, layer norms of one
and zero. `torch.randn` differs between CPU capabilities. numpy's `standard_normal` calls the C library's `log1p` in the
tails (about 1 value in 4,000), and NEP 19 lets its stream change with numpy's version. So only the raw 64-bit words of
Philox are used, which NEP 19 keeps fixed, and a normal value is the classical sum of twelve uniforms: integers, summed
exactly, and one float32 multiplication. What that costs: the variance is 1 to nine digits, but the excess kurtosis is
-0.1 and no value lies beyond 6 deviations, which is nothing that training depends on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from swarm.model.layout import Layout
from swarm.run.schema import ModelSpec

UNIFORMS = 12  # of 16 bits each: three 64-bit words a value
MEAN = UNIFORMS * (2**16 - 1) // 2
BLOCK = 1 << 16  # values drawn at once, so that the words stay in cache
SHARE = 1 << 18  # values that one thread draws at once
COUNTS = 3 * SHARE // 4  # of Philox, which gives four words for each
THREADS = 8  # at most


def initial_vector(spec: ModelSpec) -> np.ndarray:
    """The (size,) float32 vector of initial weights that `initial_seed` names."""
    layout = Layout.of(spec)
    vector = np.zeros(layout.size, dtype=np.float32)
    drawn: list[Callable[[], None]] = []
    for tensor in layout.tensors:
        if tensor.is_matrix:
            drawn += _shares(vector[tensor.slice], f"{spec.initial_seed}:{tensor.name}", spec.initializer_range)
        elif tensor.name.endswith(".weight"):
            vector[tensor.slice] = 1.0
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        list(threads.map(lambda draw: draw(), drawn))
    return vector


def quick_weights(layout: Layout) -> np.ndarray:
    """A (size,) float32 vector of the same kind for measuring speed: nobody needs these weights, or the same ones.

    Matrices small and norms one, as at a run's start, so that activations and gradients are of an ordinary size.
    """
    vector = np.zeros(layout.size, dtype=np.float32)
    block = np.float32(0.02) * np.random.default_rng(0).standard_normal(BLOCK, np.float32)
    for tensor in layout.tensors:
        if tensor.is_matrix:
            vector[tensor.slice] = np.resize(block, tensor.size)
        elif tensor.name.endswith(".weight"):
            vector[tensor.slice] = 1.0
    return vector


def draw_normal(out: np.ndarray, stream: str, deviation: float) -> None:
    """Fill `out`, (n,) float32, with normal(0, deviation) from the stream of that name."""
    for draw in _shares(out, stream, deviation):
        draw()


def _shares(out: np.ndarray, stream: str, deviation: float) -> list[Callable[[], None]]:
    """What fills `out`, in parts that any threads may do in any order: Philox counts, so each knows where it begins."""
    key = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:16], "little")
    scale = np.float32(deviation / 2**16)
    starts = range(0, out.size, SHARE)
    return [partial(_draw, out[start : start + SHARE], key, COUNTS * start // SHARE, scale) for start in starts]


def _draw(out: np.ndarray, key: int, counter: int, scale: np.float32) -> None:
    words = np.random.Philox(key=key, counter=counter)
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        parts = words.random_raw(3 * block.size).view(np.uint16).reshape(block.size, UNIFORMS)
        total = np.zeros(block.size, dtype=np.int32)
        for column in range(UNIFORMS):  # the order of the parts does not matter, so neither does the byte order
            total += parts[:, column]
        np.multiply((total - MEAN).astype(np.float32), scale, out=block)  # |total - MEAN| < 2^24: exact


def vector_digest(vector: np.ndarray) -> str:
    """SHA-256 of a float32 vector's little-endian bytes, in hex: what `ModelSpec.initial_digest` holds."""
    return hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").data).hexdigest()
