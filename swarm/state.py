"""The shared state: what every peer holds the same bytes of. Parameters, Adam's moments, step, samples.

It changes in one way only: by applying a committed round, once, in order. A void span keeps everything it had.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from swarm.averaging.averager import Averaged
from swarm.errors import RunFailedError
from swarm.model.initial import vector_digest
from swarm.model.layout import Layout
from swarm.schema import OptimizerSpec, RunConfig
from swarm.update.adamw import AdamW, Scalars
from swarm.update.clip import clip_factor
from swarm.update.schedule import learning_rate


@dataclass(eq=False)
class SharedState:
    """parameters, first_moment, second_moment: (layout.size,) float32. step: rounds applied. samples: theirs."""

    layout: Layout
    optimizer: OptimizerSpec
    total_steps: int
    span_size: int
    parameters: np.ndarray
    first_moment: np.ndarray
    second_moment: np.ndarray
    step: int = 0
    samples: int = 0
    kernel: AdamW = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for vector in self.vectors:
            assert vector.shape == (self.layout.size,), (vector.shape, self.layout.size)
            assert vector.dtype == np.float32, vector.dtype
        self.kernel = AdamW(self.layout.decayed)

    @classmethod
    def initial(cls, config: RunConfig, parameters: np.ndarray) -> SharedState:
        """The state of step 0 with these (size,) float32 parameters, which it takes over (no copy)."""
        return cls._of(config, parameters, np.zeros_like(parameters), np.zeros_like(parameters))

    @classmethod
    def empty(cls, config: RunConfig, step: int, samples: int) -> SharedState:
        """Memory for a state that is about to be read into `vectors`."""
        size = Layout.of(config.model).size
        state = cls._of(config, np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32))
        state.step, state.samples = step, samples
        return state

    @classmethod
    def _of(
        cls, config: RunConfig, parameters: np.ndarray, first_moment: np.ndarray, second_moment: np.ndarray
    ) -> SharedState:
        return cls(
            Layout.of(config.model),
            config.optimizer,
            config.training.steps,
            config.averaging.span_size,
            parameters,
            first_moment,
            second_moment,
        )

    @property
    def vectors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.parameters, self.first_moment, self.second_moment

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        return learning_rate(self.optimizer, self.step, self.total_steps)

    def apply(self, outcome: Averaged) -> None:
        """The shared update, in place. RunFailedError if the average is not finite; the state is then unchanged."""
        assert outcome.step == self.step, f"round of step {outcome.step} applied at step {self.step}"
        assert outcome.mean.size == self.layout.size, f"mean of {outcome.mean.size} values, layout {self.layout.size}"
        squared_norm = outcome.mean.squared_norm()
        try:
            clip = clip_factor(squared_norm, self.optimizer.clip_norm)
        except ValueError:
            raise RunFailedError(
                f"the average of step {self.step} has squared norm {squared_norm}: training diverged; "
                "restart the run from an earlier checkpoint with a lower learning rate"
            ) from None
        scalars = Scalars.of(self.optimizer, self.step, self.learning_rate, clip)
        for span, gradient in outcome.mean.spans():
            if gradient is not None:
                self.kernel.update(span, gradient, self.vectors, scalars)
        self.step += 1
        self.samples += outcome.samples

    def spans(self) -> list[slice]:
        """The spans of the flat vector, in order."""
        size = self.layout.size
        return [slice(start, min(start + self.span_size, size)) for start in range(0, size, self.span_size)]

    def span_digests(self, indices: Iterable[int] | None = None) -> list[bytes]:
        """SHA-256 over parameters, first and second moment of each span (or of those at `indices`), 32 bytes each."""
        spans = self.spans()
        return [self._span_digest(spans[index]) for index in (range(len(spans)) if indices is None else indices)]

    def _span_digest(self, span: slice) -> bytes:
        hasher = hashlib.sha256()
        for vector in self.vectors:
            hasher.update(vector[span].astype("<f4", copy=False).data)
        return hasher.digest()

    def digest(self) -> str:
        """Of everything: SHA-256 over step, samples (unsigned 64 bit, little-endian) and all span digests, in hex."""
        head = struct.pack("<QQ", self.step, self.samples)
        return hashlib.sha256(head + b"".join(self.span_digests())).hexdigest()

    def parameters_digest(self) -> str:
        """SHA-256 of the parameters alone, in hex: what two peers compare, and `initial_digest` at step 0."""
        return vector_digest(self.parameters)

    def adopt(self, other: SharedState) -> None:
        """Become `other`, in place: whoever holds our vectors sees the new values."""
        assert other.layout.size == self.layout.size, (other.layout.size, self.layout.size)
        for mine, theirs in zip(self.vectors, other.vectors, strict=True):
            np.copyto(mine, theirs)
        self.step, self.samples = other.step, other.samples

    def copy(self) -> SharedState:
        """A snapshot that later updates do not touch."""
        copies = [vector.copy() for vector in self.vectors]
        return replace(self, parameters=copies[0], first_moment=copies[1], second_moment=copies[2])
