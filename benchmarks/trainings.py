"""Trainings to compare: one machine with the big batch, and swarms that go on from its checkpoint.

A swarm's peers take turns in one thread. Text, plan, gradients, inner and outer optimizers, codec and reducer are the
run's own; only the network between them is simulated. Nothing here starts a process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.text import Text, create
from peers.training.local_work import LocalWork
from peers.training.work import GradientWork
from swarm.averaging.averager import Averaged, Contribution, Member
from swarm.averaging.mean import FloatMean
from swarm.averaging.simulated import SimulatedSwarm
from swarm.model.bloom import model_from_vector, starting_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.inner import InnerOptimizer
from swarm.model.layout import Layout
from swarm.model.memory import MicroBatch
from swarm.run.manifest import Manifest
from swarm.state.shared import SharedState

if TYPE_CHECKING:
    from transformers import BloomForCausalLM

SHARE = 8  # samples of a peer in a step
PEERS = 4  # behind the big batch
BATCH = SHARE * PEERS


@dataclass(frozen=True)
class Variant:
    """inner_steps: of mode "local"; 0 is mode "gradient", with a round at every step.

    rate: peak of the inner learning rate over that of the baseline. beta2: of the inner AdamW, where it is not the
    baseline's. outer: what differs from `OuterSpec`.
    overlap: inner steps that each peer takes while a round is under way. late: in mode "gradient" a contribution is
    computed while the round before is under way, so it belongs to the parameters of the step before.
    newcomers: peers that have just joined, in every round: their inner moments are empty.
    share: samples of a peer in a step.
    """

    name: str
    inner_steps: int = 0
    codec: str = "int8-block@1"
    rate: float = 1.0
    beta2: float | None = None
    outer: Mapping[str, float] = field(default_factory=dict)
    overlap: int = 0
    late: bool = False
    newcomers: int = 0
    peers: int = PEERS
    share: int = SHARE

    @property
    def length(self) -> int:
        """Steps in a round."""
        return max(1, self.inner_steps)


@dataclass(frozen=True)
class Result:
    """losses: nats a token of each language's held-out text. loss: over all of it."""

    loss: float
    losses: dict[str, float]
    bytes_per_token: float
    seconds: float
    before: dict[str, float] = field(default_factory=dict)  # `losses` at the checkpoint


@dataclass(frozen=True)
class Training:
    """What all variants share. warm: big-batch steps before they part. steps: of each after that."""

    text: Text
    config: dict[str, Any]
    seed: int
    warm: int
    steps: int

    @property
    def total(self) -> int:
        return self.warm + self.steps

    @property
    def checkpoint(self) -> Path:
        """At the end of the warm phase."""
        return self.text.folder / "warm.npz"


def one_machine(training: Training) -> Result:
    """Make the run, train to the checkpoint that all variants share, save it, and go on with the big batch."""
    torch.set_num_threads(1)
    text, length = training.text, {"steps": training.total, "global_batch": BATCH}
    create(text.folder, text.data, training.seed, training.config | {"training": length})
    begin = time.perf_counter()
    state = SharedState.initial(text.manifest, starting_vector(text.manifest.model))
    sums = GradientAccumulator(model_from_vector(text.manifest.model, state.parameters), state.layout)
    work = GradientWork(state, sums, text.batches("one", BATCH), MicroBatch(BATCH, print), lambda samples: None)
    before: dict[str, float] = {}
    while state.step < training.total:
        if state.step == training.warm:
            np.savez(training.checkpoint, *state.vectors)
            before = text.loss(sums.model)[1]
        gift = work.contribution(state.step, Alone())
        mean = FloatMean(gift.vector, state.span_size)
        outcome = Averaged(state.step, mean, (Member("one", gift.samples, gift.weight),))
        state.apply(outcome)
        work.update(outcome)
    return Result(*text.loss(sums.model), 0.0, time.perf_counter() - begin, before)


class Alone:
    """What the baseline's work asks an averager: is the batch full, and who else reads."""

    def due(self, step: int, samples: int) -> bool:
        return samples >= BATCH

    def roster(self) -> tuple[str, ...]:
        return ("one",)


def swarm_result(training: Training, variant: Variant) -> Result:
    """Of a swarm that goes on from the checkpoint."""
    torch.set_num_threads(1)
    begin = time.perf_counter()
    swarm = Swarm(training, variant)
    sent = [swarm.round() for _ in range(training.steps // variant.length)]
    swarm.check_replicas()
    tokens = len(sent) * variant.length * variant.share * swarm.manifest.model.sequence_length
    return Result(*training.text.loss(swarm.settled_model()), sum(sent) / tokens, time.perf_counter() - begin)


def bytes_per_token(training: Training, variant: Variant) -> float:
    """What a peer sends for each token that it reads: one real round, counted."""
    swarm = Swarm(training, variant)
    return swarm.round() / (variant.length * variant.share * swarm.manifest.model.sequence_length)


def _manifest(training: Training, variant: Variant) -> Manifest:
    value = training.text.manifest.model_dump(mode="json")
    value["averaging"]["codec"] = variant.codec
    if variant.inner_steps:
        local = {"inner_steps": variant.inner_steps, "inner_batch": variant.share, "overlap": False}
        local["outer"] = value["training"]["local"]["outer"] | dict(variant.outer)
        value["training"] |= {"mode": "local", "steps": training.total // variant.inner_steps, "local": local}
        value["optimizer"]["learning_rate"] *= variant.rate
        value["optimizer"]["beta2"] = variant.beta2 or value["optimizer"]["beta2"]
    return Manifest.model_validate_json(json.dumps(value))


class Swarm:
    """The peers of one variant, one after another in this thread, over a simulated network."""

    def __init__(self, training: Training, variant: Variant) -> None:
        self.text, self.variant, self.manifest = training.text, variant, _manifest(training, variant)
        self.peers = tuple(f"peer{i}" for i in range(variant.peers))
        step, vectors = training.warm // variant.length, list(np.load(training.checkpoint).values())
        self.network = SimulatedSwarm(self.manifest.averaging, Layout.of(self.manifest.model).size)
        self.network.resume(step, self.peers)
        self.states = {name: self._state(step, vectors) for name in self.peers}
        self.averagers = {name: self.network.join(name, variant.share * variant.length) for name in self.peers}
        self.works = {name: self._work(name) for name in self.peers}
        self._ready: dict[str, Contribution] = {}  # computed while the round before was under way

    def _state(self, step: int, vectors: list[np.ndarray]) -> SharedState:
        state = SharedState.initial(self.manifest, vectors[0].copy())
        if not self.variant.inner_steps:
            state = replace(state, vectors=tuple(vector.copy() for vector in vectors))
        state.step = step
        return state

    def _work(self, name: str) -> GradientWork | LocalWork:
        state = self.states[name]
        batches = self.text.batches(name, self.variant.share * len(self.peers) * self.variant.length)
        model = model_from_vector(self.manifest.model, state.parameters)
        sums, size = GradientAccumulator(model, state.layout), MicroBatch(self.variant.share, print)
        if not self.variant.inner_steps:
            return GradientWork(state, sums, batches, size, lambda samples: None)
        inner = InnerOptimizer(model, state.layout, self.manifest.optimizer)
        return LocalWork(self.manifest, state, sums, inner, batches, micro_batch=size, tell=lambda samples: None)

    def round(self) -> float:
        """Everybody's contribution, the round, everybody's update; mean bytes that a peer sent."""
        step = self.network.step
        gifts = self._ready or self._contributions(step)
        if step + 1 < self.manifest.training.steps:
            self._ready = self._contributions(step + 1) if self.variant.late else {}
            self._train_on(step + 1)
        outcomes = self.network.round(gifts)
        for name, outcome in outcomes.items():
            assert isinstance(outcome, Averaged), outcome
            assert outcome.stats is not None
            self.states[name].apply(outcome)
            self.works[name].update(outcome)
        self._welcome(step)
        return sum(outcome.stats.bytes_sent for outcome in outcomes.values()) / len(outcomes)

    def _contributions(self, step: int) -> dict[str, Contribution]:
        return {name: work.contribution(step, self.averagers[name]) for name, work in self.works.items()}

    def _train_on(self, step: int) -> None:
        for work in self.works.values():
            for _ in range(self.variant.overlap):
                assert isinstance(work, LocalWork), "only mode local trains while a round is under way"
                work.train(step)

    def _welcome(self, step: int) -> None:
        """In the place of as many peers, in turn: newcomers have the shared state and nothing else."""
        for place in range(self.variant.newcomers):
            self.works[self.peers[(step + place) % len(self.peers)]].restart()

    def check_replicas(self) -> None:
        assert len({state.digest() for state in self.states.values()}) == 1, "the replicas differ"

    def settled_model(self) -> BloomForCausalLM:
        """A model with the shared parameters."""
        return model_from_vector(self.manifest.model, self.states[self.peers[0]].parameters)
