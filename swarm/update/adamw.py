"""AdamW (Loshchilov and Hutter 2019) in numpy, rounding the same on every CPU: the reference kernel.

torch's AdamW differs between CPU capabilities, foreach, fused and how a vector is split (docs/decisions.md). Here every
operation is one float32 `+ - * /` or `sqrt` that IEEE 754 rounds on its own: no fused multiply-add, no reduction,
nothing whose result depends on threads, vector width, or where a span begins. Scalars are computed in double and
rounded once. Blocks are small enough to stay in cache, which makes it faster than torch's foreach AdamW. `kernels` does
the same in one pass, four times as fast, once a process has it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from swarm.compiled import Kernels, Source
from swarm.run.schema import OptimizerSpec
from swarm.update.exact import power

BLOCK = 1 << 15  # float32 values: 128 KiB an array, six arrays in flight; larger blocks gain nothing on 1 MiB of L2
KERNELS = Kernels("swarm.update")


@dataclass(frozen=True)
class Scalars:
    """The float32 numbers of one step, the same for every value of the vector."""

    clip: np.float32
    beta1: np.float32
    one_minus_beta1: np.float32
    beta2: np.float32
    one_minus_beta2: np.float32
    second_correction: np.float32  # sqrt(1 - beta2^t)
    epsilon: np.float32
    step_size: np.float32  # rate / (1 - beta1^t)
    keep: np.float32  # 1 - rate * weight decay

    @classmethod
    def of(cls, spec: OptimizerSpec, step: int, rate: float, clip: float) -> Scalars:
        """For the update from `step` to `step + 1`, learning rate `rate`, clip factor `clip`."""
        count = step + 1
        return cls(
            clip=np.float32(clip),
            beta1=np.float32(spec.beta1),
            one_minus_beta1=np.float32(1.0 - spec.beta1),
            beta2=np.float32(spec.beta2),
            one_minus_beta2=np.float32(1.0 - spec.beta2),
            second_correction=np.float32(math.sqrt(1.0 - power(spec.beta2, count))),
            epsilon=np.float32(spec.epsilon),
            step_size=np.float32(rate / (1.0 - power(spec.beta1, count))),
            keep=np.float32(1.0 - rate * spec.weight_decay),
        )


class AdamW:
    """The kernel with its scratch memory (two blocks). Not for use by several threads at once."""

    def __init__(self, decayed: Sequence[slice], kernels: Source = KERNELS) -> None:
        """`decayed`: the parts of the flat vector that weight decay applies to, in order (`Layout.decayed`)."""
        self.decayed, self.kernels = tuple(decayed), kernels
        self._stops = [part.stop for part in self.decayed]
        self._scratch = np.empty((2, BLOCK), dtype=np.float32)

    def update(
        self,
        span: slice,
        gradient: np.ndarray,
        vectors: tuple[np.ndarray, np.ndarray, np.ndarray],
        scalars: Scalars,
    ) -> None:
        """Update `vectors` = (parameters, first moment, second moment), each (size,), in place over `span`.

        gradient: the span's (n,) float32 averaged values, unclipped; it is read only.
        """
        kernels = self.kernels(gradient, *vectors)
        if kernels is not None:
            for part, keep in self._parts(span, scalars.keep):
                given = gradient[part.start - span.start : part.stop - span.start]
                kernels.adamw(*(vector[part] for vector in vectors), given, *self._numbers(scalars), keep)
            return
        for start in range(span.start, span.stop, BLOCK):
            block = slice(start, min(start + BLOCK, span.stop))
            parameters, first, second = (vector[block] for vector in vectors)
            for part in self._decayed_within(block):
                vectors[0][part] *= scalars.keep
            self._block(
                parameters, first, second, gradient[block.start - span.start : block.stop - span.start], scalars
            )

    def _block(
        self, parameters: np.ndarray, first: np.ndarray, second: np.ndarray, gradient: np.ndarray, s: Scalars
    ) -> None:
        """One block: m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; p <- p - step_size * m / (sqrt(v) / c2 + eps)."""
        clipped, scratch = self._scratch[:, : gradient.size]
        np.multiply(gradient, s.clip, out=clipped)
        np.multiply(first, s.beta1, out=first)
        np.multiply(clipped, s.one_minus_beta1, out=scratch)
        np.add(first, scratch, out=first)
        np.multiply(clipped, clipped, out=clipped)
        np.multiply(clipped, s.one_minus_beta2, out=clipped)
        np.multiply(second, s.beta2, out=second)
        np.add(second, clipped, out=second)
        np.sqrt(second, out=scratch)
        np.divide(scratch, s.second_correction, out=scratch)
        np.add(scratch, s.epsilon, out=scratch)
        np.divide(first, scratch, out=scratch)
        np.multiply(scratch, s.step_size, out=scratch)
        np.subtract(parameters, scratch, out=parameters)

    @staticmethod
    def _numbers(s: Scalars) -> tuple[np.float32, ...]:
        corrections = (s.second_correction, s.epsilon, s.step_size)
        return (s.clip, s.beta1, s.one_minus_beta1, s.beta2, s.one_minus_beta2, *corrections)

    def _parts(self, span: slice, keep: np.float32) -> Iterator[tuple[slice, np.float32]]:
        """The whole span in parts, each with what its weights are multiplied by."""
        start = span.start
        for part in self._decayed_within(span):
            if start < part.start:
                yield slice(start, part.start), np.float32(1)
            yield part, keep
            start = part.stop
        if start < span.stop:
            yield slice(start, span.stop), np.float32(1)

    def _decayed_within(self, block: slice) -> Iterator[slice]:
        for part in self.decayed[bisect_right(self._stops, block.start) :]:
            if part.start >= block.stop:
                return
            yield slice(max(part.start, block.start), min(part.stop, block.stop))
