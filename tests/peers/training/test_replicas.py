"""Several devices as one peer, on processors: the same sums as one device, in both modes, and a clear end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from peers.training.device import further_devices
from peers.training.replicas import Replicas
from swarm.errors import RunFailedError
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.initial import initial_vector
from swarm.model.inner import InnerOptimizer
from swarm.model.layout import Layout
from swarm.run.schema import ModelSpec, OptimizerSpec

pytestmark = pytest.mark.timeout(300)
SPEC = ModelSpec(vocab_size=300, hidden_size=16, layers=1, heads=2, sequence_length=12)
LAYOUT = Layout.of(SPEC)


@dataclass
class Ref:
    language: str = "en"


def batch(seed: int, samples: int) -> Any:
    ids = np.random.default_rng(seed).integers(0, 300, (samples, 12))
    refs = [Ref("en" if i % 2 else "fr") for i in range(samples)]
    return type("Batch", (), {"input_ids": ids, "labels": ids, "refs": refs})()


def alone() -> GradientAccumulator:
    return GradientAccumulator(model_from_vector(SPEC, initial_vector(SPEC)), LAYOUT)


@pytest.fixture
def three() -> Iterator[Replicas]:
    model = model_from_vector(SPEC, initial_vector(SPEC))
    replicas = Replicas(model, LAYOUT, SPEC, others=("cpu", "cpu"))
    yield replicas
    replicas.close()
    assert not any(replica.process.is_alive() for replica in replicas._replicas)


def same(one: np.ndarray, other: np.ndarray) -> None:
    assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(other)


def test_all_gpus_are_taken_unless_one_is_named() -> None:
    assert further_devices("auto", 3) == further_devices("cuda", 3) == ("cuda:1", "cuda:2")
    assert further_devices("cuda:1", 3) == further_devices("cpu", 3) == further_devices("auto", 1) == ()


def test_the_contribution_is_that_of_one_device(three: Replicas) -> None:
    one = alone()
    for turn in range(2):  # the second one after the parameters have moved
        for sums in (one, three):
            LAYOUT.scatter(initial_vector(SPEC) * np.float32(1 + turn), sums.model)
            sums.reset()
        for seed, samples in ((1, 7), (2, 3), (3, 1)):  # also fewer samples than devices
            assert three.add(batch(seed, samples)) == pytest.approx(one.add(batch(seed, samples)), rel=1e-5)
        gift, wanted = three.contribution(), one.contribution()
        same(gift.vector, wanted.vector)
        assert (gift.samples, gift.weight) == (wanted.samples, wanted.weight) == (11, 11.0)
        assert (three.tokens, three.languages) == (one.tokens, one.languages)
        assert three.mean_loss == pytest.approx(one.mean_loss, rel=1e-5)


def test_inner_steps_are_those_of_one_device(three: Replicas) -> None:
    ways = []
    for sums in (alone(), three):
        inner = InnerOptimizer(sums.model, LAYOUT, OptimizerSpec())
        for step in range(4):
            sums.reset()
            sums.add(batch(step, 6))
            sums.settle()
            inner.step(1 / 6, 1e-2)
        ways.append(inner.vector() - initial_vector(SPEC))
    assert np.linalg.norm(ways[0]) > 0.1
    assert np.linalg.norm(ways[1] - ways[0]) < 1e-3 * np.linalg.norm(ways[0])


def test_a_replica_that_dies_ends_the_peer_with_its_name(three: Replicas) -> None:
    three.reset()
    three.add(batch(1, 6))
    dead = three._replicas[1].process
    dead.kill()
    dead.join()
    with pytest.raises(RunFailedError, match="the process that computes on cpu has ended; start this peer again"):
        three.add(batch(2, 6))
