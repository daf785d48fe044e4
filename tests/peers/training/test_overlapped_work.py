"""Mode "gradient" with overlap: N peers take the delayed steps of one machine, and no sample is lost or read twice."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from peers.training.overlapped_work import OverlappedWork
from swarm.averaging.averager import Averaged, Member, Missed, Outcome
from swarm.averaging.mean import FloatMean
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.initial import initial_vector
from swarm.model.memory import MicroBatch
from swarm.run.manifest import parse_config
from swarm.state.shared import SharedState

PEERS, SHARE, MICRO, STEPS = 2, 6, 2, 5
CONFIG = parse_config(
    {
        "name": "overlapped",
        "model": {"vocab_size": 300, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 12},
        "data": {"sources": [{"kind": "starter"}]},
        "training": {"steps": 100, "global_batch": PEERS * SHARE, "overlap": True},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 1},
        "averaging": {"span_size": 1024},
    },
    "the test",
)


@dataclass
class Ref:
    language: str = "en"


@dataclass
class Text:
    """Sample i of a step is always the same; peers read every `PEERS`-th."""

    peer: int
    read: list[tuple[int, int]] = field(default_factory=list)  # step, sample
    step: int = -1
    drawn: int = 0

    def begin(self, step: int, roster: tuple[str, ...], read: int = 0) -> None:
        self.step, self.drawn = step, 0

    def next(self, samples: int) -> Any:
        numbers = [PEERS * (self.drawn + i) + self.peer for i in range(samples)]
        self.drawn += samples
        self.read += [(self.step, number) for number in numbers]
        return batch_of(self.step, numbers)


def batch_of(step: int, numbers: list[int]) -> Any:
    ids = np.stack([np.random.default_rng([step, number]).integers(0, 300, 12) for number in numbers])
    return type("Batch", (), {"input_ids": ids, "labels": ids, "refs": [Ref()] * len(numbers)})()


class Full:
    """An averager that is due at a peer's share."""

    def due(self, step: int, samples: int) -> bool:
        return samples >= SHARE

    def roster(self) -> tuple[str, ...]:
        return ()


def work(peer: int = 0) -> OverlappedWork:
    state = SharedState.initial(CONFIG, initial_vector(CONFIG.model))
    sums = GradientAccumulator(model_from_vector(CONFIG.model, state.parameters), state.layout)
    return OverlappedWork(state, sums, Text(peer), MicroBatch(MICRO, print), lambda samples: None)  # type: ignore[arg-type]


def averaged(step: int, vector: np.ndarray) -> Averaged:
    return Averaged(step, FloatMean(vector, 1024), (Member("a", SHARE, float(SHARE)),))


def finish(one: OverlappedWork, outcome: Outcome) -> None:
    """The rest of the trainer's turn."""
    if isinstance(outcome, Averaged):
        one.state.apply(outcome)
        one.update(outcome)


def during(one: OverlappedWork, outcome: Outcome, until: int) -> Outcome:
    """A round of the current step that ends when `until` samples of the next one are added up."""
    there = threading.Event()
    one.tell = lambda samples: there.set() if samples >= until else None

    def average() -> Outcome:
        assert there.wait(30)
        return outcome

    return one.exchange(one.state.step, average)


def test_the_swarm_takes_the_steps_of_one_machine_whose_gradients_are_one_step_old() -> None:
    peers = [work(peer) for peer in range(PEERS)]
    alone = SharedState.initial(CONFIG, initial_vector(CONFIG.model))
    before = alone.parameters.copy()
    for step in range(STEPS):
        gifts = [one.contribution(step, Full()) for one in peers]  # type: ignore[arg-type]
        assert [gift.samples for gift in gifts] == [SHARE] * PEERS
        assert [gift.staleness for gift in gifts] == [min(step, 1)] * PEERS
        mean = np.mean([gift.vector for gift in gifts], axis=0, dtype=np.float32)
        for one in peers:
            finish(one, during(one, averaged(step, mean), MICRO))  # some of the next step's samples meanwhile
        old, before = before, alone.parameters.copy()
        alone.apply(averaged(step, big_batch_gradient(old, step)))
        assert peers[0].state.digest() == peers[1].state.digest()
        assert np.abs(peers[0].state.parameters - alone.parameters).max() < 1e-5, step
    assert np.abs(alone.parameters - initial_vector(CONFIG.model)).max() > 1e-2
    for one in peers:
        read = one.batches.read  # type: ignore[attr-defined]
        assert len(read) == len(set(read)), "a sample was read twice"


def big_batch_gradient(parameters: np.ndarray, step: int) -> np.ndarray:
    """Of all samples of a step, in one process without any of this."""
    model = model_from_vector(CONFIG.model, parameters)
    sums = GradientAccumulator(model, SharedState.initial(CONFIG, parameters).layout)
    sums.add(batch_of(step, list(range(PEERS * SHARE))))
    return sums.contribution().vector


def test_a_peer_that_waits_for_a_slow_round_stops_at_its_share() -> None:
    one = work()
    gift = one.contribution(0, Full())  # type: ignore[arg-type]
    finish(one, during(one, averaged(0, gift.vector), SHARE))
    assert one.accumulator.samples == SHARE
    assert one.contribution(1, Full()).samples == SHARE  # type: ignore[arg-type]


def test_after_a_round_that_came_to_nothing_its_step_is_computed_again() -> None:
    one = work()
    first = one.contribution(0, Full())  # type: ignore[arg-type]
    finish(one, during(one, Missed(0, "void"), MICRO))
    again = one.contribution(0, Full())  # type: ignore[arg-type]
    assert again.vector.tobytes() == first.vector.tobytes()


def test_after_the_state_was_replaced_gradients_are_of_the_new_one() -> None:
    one = work()
    gift = one.contribution(0, Full())  # type: ignore[arg-type]
    during(one, Missed(0, "behind", behind=True), MICRO)
    other = SharedState.initial(CONFIG, initial_vector(CONFIG.model) * np.float32(1.5))
    other.step = 7
    one.state.adopt(other)
    one.restart()
    assert np.array_equal(one.state.layout.gather(one.accumulator.model), other.parameters)
    found = one.contribution(7, Full())  # type: ignore[arg-type]
    assert found.samples == SHARE
    assert found.vector.tobytes() != gift.vector.tobytes()


def test_memory_that_runs_out_during_a_round_costs_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = work(), work()
    real = one.accumulator.model.forward
    for each in (one, other):
        gift = each.contribution(0, Full())  # type: ignore[arg-type]
        if each is one:
            monkeypatch.setattr(one.accumulator.model, "forward", lambda **options: tight(real, **options))
        finish(each, during(each, averaged(0, gift.vector), MICRO))
    mine, wanted = (each.contribution(1, Full()) for each in (one, other))  # type: ignore[arg-type]
    assert one.micro_batch.size == 1
    assert mine.samples == wanted.samples == SHARE
    assert np.abs(mine.vector - wanted.vector).max() < 1e-6


def tight(forward: Any, *, input_ids: torch.Tensor, **options: Any) -> Any:
    if len(input_ids) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return forward(input_ids=input_ids, **options)
