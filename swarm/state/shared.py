"""The shared state: what every peer holds the same bytes of. Parameters, the rule's moments, step, samples.

It changes in one way only: by applying a committed round, once, in order. A void span keeps everything it had.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from swarm.averaging.averager import Averaged
from swarm.digest import content_digest_of
from swarm.errors import RunFailedError
from swarm.model.initial import vector_digest
from swarm.model.layout import Layout
from swarm.run.schema import RunConfig
from swarm.update.rule import Rule, rule_of


@dataclass(eq=False)
class SharedState:
    """vectors: the parameters and what the rule keeps beside them, each (layout.size,) float32.

    step: rounds applied. samples: theirs.
    """

    layout: Layout
    rule: Rule
    span_size: int
    vectors: tuple[np.ndarray, ...]
    step: int = 0
    samples: int = 0

    def __post_init__(self) -> None:
        assert len(self.vectors) == 1 + len(self.rule.names), (len(self.vectors), self.rule.names)
        for vector in self.vectors:
            assert vector.shape == (self.layout.size,), (vector.shape, self.layout.size)
            assert vector.dtype == np.float32, vector.dtype

    @classmethod
    def initial(cls, config: RunConfig, parameters: np.ndarray) -> SharedState:
        """The state of step 0 with these (size,) float32 parameters, which it takes over (no copy)."""
        layout, rule = _parts(config)
        others = [np.zeros(parameters.shape, np.float32) for _ in rule.names]  # unlike zeros_like it touches no page
        return cls(layout, rule, config.averaging.span_size, (parameters, *others))

    @classmethod
    def empty(cls, config: RunConfig, step: int, samples: int) -> SharedState:
        """Memory for a state that is about to be read into `vectors`."""
        layout, rule = _parts(config)
        vectors = tuple(np.empty(layout.size, np.float32) for _ in range(1 + len(rule.names)))
        return cls(layout, rule, config.averaging.span_size, vectors, step, samples)

    @property
    def parameters(self) -> np.ndarray:
        return self.vectors[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the vectors, in order."""
        return ("parameters", *self.rule.names)

    def apply(self, outcome: Averaged) -> None:
        """The shared update, in place. RunFailedError if the average is not finite; the state is then unchanged."""
        assert outcome.step == self.step, f"round of step {outcome.step} applied at step {self.step}"
        assert outcome.mean.size == self.layout.size, f"mean of {outcome.mean.size} values, layout {self.layout.size}"
        squared_norm = outcome.mean.squared_norm()
        try:
            self.rule.begin(self.step, squared_norm)
        except ValueError:
            raise RunFailedError(
                f"the average of step {self.step} has squared norm {squared_norm}: training diverged; "
                "restart the run from an earlier checkpoint with a lower learning rate"
            ) from None
        for span, mean in outcome.mean.spans():
            if mean is not None:
                self.rule.update(span, mean, self.vectors)
        self.step += 1
        self.samples += outcome.samples

    def spans(self) -> list[slice]:
        """The spans of the flat vector, in order."""
        size = self.layout.size
        return [slice(start, min(start + self.span_size, size)) for start in range(0, size, self.span_size)]

    def span_digests(self, indices: Iterable[int] | None = None) -> list[bytes]:
        """BLAKE3 over all vectors of each span (or of those at `indices`), 32 bytes each."""
        spans = self.spans()
        return [self._span_digest(spans[index]) for index in (range(len(spans)) if indices is None else indices)]

    def _span_digest(self, span: slice) -> bytes:
        return content_digest_of(vector[span].astype("<f4", copy=False).data for vector in self.vectors)

    def digest(self) -> str:
        """Of everything: SHA-256 over step, samples (unsigned 64 bit, little-endian) and all span digests, in hex."""
        return self.root(self.span_digests()).hex()

    def root(self, digests: Sequence[bytes]) -> bytes:
        """`digest`, 32 bytes, where the digests of all spans are known already."""
        return root_of(self.step, self.samples, digests)

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
        return replace(self, vectors=tuple(vector.copy() for vector in self.vectors))


def root_of(step: int, samples: int, digests: Sequence[bytes]) -> bytes:
    """What pins a whole state: SHA-256 over step, samples and the digests of all spans, in order."""
    return hashlib.sha256(struct.pack("<QQ", step, samples) + b"".join(digests)).digest()


def _parts(config: RunConfig) -> tuple[Layout, Rule]:
    layout = Layout.of(config.model)
    return layout, rule_of(config, layout.decayed)
