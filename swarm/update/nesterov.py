"""The outer step of DiLoCo (Douillard et al. 2023, algorithm 1): Nesterov momentum on the averaged pseudo-gradient.

As torch's SGD with nesterov=True: m <- momentum m + d; p <- p - rate (d + momentum m). Like the AdamW kernel beside it,
every operation is one float32 `+` or `*` that rounds on its own, so every peer gets the same bytes; `kernels` does the
same in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.compiled import Source
from swarm.run.schema import OuterSpec
from swarm.update.adamw import BLOCK, KERNELS


@dataclass(frozen=True)
class Scalars:
    """The float32 numbers of one outer step."""

    clip: np.float32
    momentum: np.float32
    rate: np.float32

    @classmethod
    def of(cls, spec: OuterSpec, rate: float, clip: float) -> Scalars:
        return cls(np.float32(clip), np.float32(spec.momentum), np.float32(rate))


class Nesterov:
    """The kernel with its scratch memory (two blocks). Not for use by several threads at once."""

    def __init__(self, kernels: Source = KERNELS) -> None:
        self.kernels = kernels
        self._scratch = np.empty((2, BLOCK), dtype=np.float32)

    def update(self, span: slice, mean: np.ndarray, vectors: tuple[np.ndarray, ...], scalars: Scalars) -> None:
        """Update `vectors` = (parameters, momentum), each (size,), in place over `span`.

        mean: the span's (n,) float32 averaged pseudo-gradient (anchor minus trained parameters); it is read only.
        """
        kernels = self.kernels(mean, *vectors)
        if kernels is not None:
            whole = (vector[span] for vector in vectors)
            kernels.nesterov(*whole, mean, scalars.clip, scalars.momentum, scalars.rate)
            return
        for start in range(span.start, span.stop, BLOCK):
            block = slice(start, min(start + BLOCK, span.stop))
            parameters, momentum = (vector[block] for vector in vectors)
            clipped, scratch = self._scratch[:, : parameters.size]
            np.multiply(mean[block.start - span.start : block.stop - span.start], scalars.clip, out=clipped)
            np.multiply(momentum, scalars.momentum, out=momentum)
            np.add(momentum, clipped, out=momentum)
            np.multiply(momentum, scalars.momentum, out=scratch)
            np.add(scratch, clipped, out=scratch)
            np.multiply(scratch, scalars.rate, out=scratch)
            np.subtract(parameters, scratch, out=parameters)
