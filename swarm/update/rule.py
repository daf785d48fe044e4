"""The shared update of a run: how a committed mean changes the shared state. One rule for each training mode.

A rule is stateless but for scratch memory: everything it needs to know of the past is in the state's vectors and in
the number of certified steps, so a peer that takes over both continues exactly as the others do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from swarm.run.schema import RunConfig
from swarm.update import adamw, nesterov
from swarm.update.clip import clip_factor
from swarm.update.schedule import learning_rate, outer_rate

Vectors = tuple[np.ndarray, ...]


class Rule(Protocol):
    """names: of the vectors that the rule keeps beside the parameters, in order. never_negative: those of them that."""

    names: tuple[str, ...]
    never_negative: frozenset[str]

    def begin(self, step: int, squared_norm: float) -> None:
        """The numbers of the update from `step` to `step + 1`. ValueError: the mean is not finite."""
        ...

    def update(self, span: slice, mean: np.ndarray, vectors: Vectors) -> None:
        """Apply the mean of one span, (n,) float32, to `vectors` = (parameters, *names), in place."""
        ...


class GradientRule:
    """Mode "gradient": one AdamW step on the averaged gradient."""

    names: tuple[str, ...] = ("first_moment", "second_moment")
    never_negative: frozenset[str] = frozenset({"second_moment"})

    def __init__(self, config: RunConfig, decayed: tuple[slice, ...]) -> None:
        self._spec, self._steps = config.optimizer, config.training.steps
        self._kernel = adamw.AdamW(decayed)
        self._scalars: adamw.Scalars | None = None

    def begin(self, step: int, squared_norm: float) -> None:
        rate = learning_rate(self._spec, step, self._steps)
        self._scalars = adamw.Scalars.of(self._spec, step, rate, clip_factor(squared_norm, self._spec.clip_norm))

    def update(self, span: slice, mean: np.ndarray, vectors: Vectors) -> None:
        assert self._scalars is not None, "begin comes first"
        self._kernel.update(span, mean, (vectors[0], vectors[1], vectors[2]), self._scalars)


class LocalRule:
    """Mode "local": one outer Nesterov step on the averaged pseudo-gradient."""

    names: tuple[str, ...] = ("momentum",)
    never_negative: frozenset[str] = frozenset()

    def __init__(self, config: RunConfig) -> None:
        self._spec, self._steps = config.training.local.outer, config.training.steps
        self._kernel = nesterov.Nesterov()
        self._scalars: nesterov.Scalars | None = None

    def begin(self, step: int, squared_norm: float) -> None:
        clip = clip_factor(squared_norm, self._spec.clip_norm)
        self._scalars = nesterov.Scalars.of(self._spec, outer_rate(self._spec, step, self._steps), clip)

    def update(self, span: slice, mean: np.ndarray, vectors: Vectors) -> None:
        assert self._scalars is not None, "begin comes first"
        self._kernel.update(span, mean, vectors, self._scalars)


class ScheduledRule:
    """The rules of several versions of a run (`swarm.run.amendment`): each counts from its step, the first from 0."""

    def __init__(self, versions: Sequence[tuple[int, Rule]]) -> None:
        assert versions[0][0] == 0, versions
        self.versions = tuple(versions)
        self.names, self.never_negative = versions[0][1].names, versions[0][1].never_negative
        self._now = versions[0][1]

    def begin(self, step: int, squared_norm: float) -> None:
        self._now = next(rule for start, rule in reversed(self.versions) if start <= step)
        self._now.begin(step, squared_norm)

    def update(self, span: slice, mean: np.ndarray, vectors: Vectors) -> None:
        self._now.update(span, mean, vectors)


def vector_names(config: RunConfig) -> tuple[str, ...]:
    """Of the vectors that a shared state of this run holds, in order."""
    return ("parameters", *(GradientRule if config.training.mode == "gradient" else LocalRule).names)


def rule_of(config: RunConfig, decayed: tuple[slice, ...]) -> Rule:
    """The rule of a run's mode. decayed: the parts of the vector that weight decay applies to."""
    return GradientRule(config, decayed) if config.training.mode == "gradient" else LocalRule(config)
