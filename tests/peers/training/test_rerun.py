"""Mode "local" done again from a diary: to the bit on the same machine, and a diary that lies is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from peers.training.local_work import LocalWork
from peers.training.rerun import rerun, script_of
from swarm.averaging.averager import Averaged, Contribution, Member
from swarm.averaging.mean import FloatMean
from swarm.errors import CheckpointError, RunFailedError
from swarm.model.inner import InnerOptimizer
from swarm.model.memory import MicroBatch
from swarm.run.manifest import Manifest
from swarm.settings import Settings
from swarm.state.diary import MOST_TURNS, Diarist, Diary, Told, Turn, require_signed_samples
from swarm.state.shared import SharedState
from tests.peers.whole_swarm import Run

INNER, ROUNDS, WHO = 3, 5, "one"
SETTINGS = Settings(device="cpu", precision="float32", micro_batch=2, threads=1)


@dataclass
class Road:
    """What `Course` says of a run, from what was seen of it here."""

    manifest: Manifest
    tokenizer: bytes
    states: dict[int, SharedState] = field(default_factory=dict)
    outcomes: dict[int, Averaged] = field(default_factory=dict)
    signed: dict[int, Told] = field(default_factory=dict)
    earliest: int = 0
    chain: tuple[()] = ()

    def told(self, peer: str) -> Mapping[int, Told]:
        return self.signed

    def first_before(self, step: int) -> int:
        return self.earliest

    def state(self, step: int) -> SharedState:
        return self.states[step].copy()

    def outcome(self, step: int, peer: str) -> Averaged:
        return self.outcomes[step]

    def roster(self, step: int) -> tuple[str, ...]:
        return (WHO, "two") if step else ()


class Swarm:
    """Is due after so many samples, and has the roster of `Road`."""

    def __init__(self, road: Road, step: int, samples: int) -> None:
        self.road, self.step, self.samples = road, step, samples

    def due(self, step: int, samples: int) -> bool:
        return samples >= self.samples

    def roster(self) -> tuple[str, ...]:
        return self.road.roster(self.step)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


def local(run: Run) -> Manifest:
    manifest = run.signed.manifest
    spec = manifest.training.local.model_copy(update={"inner_steps": INNER, "inner_batch": 4})
    training = manifest.training.model_copy(update={"mode": "local", "local": spec})
    return manifest.model_copy(update={"training": training})


def work_of(run: Run, manifest: Manifest) -> LocalWork:
    state = SharedState.initial(manifest, run.state().parameters.copy())
    sums = run.accumulator(state)
    inner = InnerOptimizer(sums.model, state.layout, manifest.optimizer)
    batches = run.batches(WHO)
    more: dict[str, Any] = {"micro_batch": MicroBatch(3, print), "tell": lambda samples: None}
    return LocalWork(manifest, state, sums, inner, batches, **more)


def travelled(
    run: Run, ahead: int, left_out: int | None = None, missed: int | None = None
) -> tuple[Road, Contribution]:
    """ahead: inner steps during each round. left_out: not averaged there. missed: that round is held twice."""
    manifest = local(run)
    road, work = Road(manifest, run.tokenizer), work_of(run, manifest)
    noise = np.random.default_rng(1)
    for step in range(ROUNDS):
        road.states[step] = work.state.copy()
        gift = work.contribution(step, Swarm(road, step, 12 + 4 * (step % 2)))  # type: ignore[arg-type]
        if step == missed:
            work.train_ahead(step + 1)
            gift = work.contribution(step, Swarm(road, step, 8))  # type: ignore[arg-type]
        road.signed[step] = Told(gift.samples, step != left_out)
        if step == ROUNDS - 1:
            return road, gift
        for _ in range(ahead):
            work.train_ahead(step + 1)
        mean = gift.vector * 0.5 + noise.standard_normal(gift.vector.size, dtype=np.float32) * np.float32(1e-3)
        outcome = Averaged(step, FloatMean(mean, 1024), (Member(WHO, 12, 12.0),), included=step != left_out)
        road.outcomes[step] = outcome
        work.state.apply(outcome)
        work.update(outcome)
    raise AssertionError


@pytest.fixture(autouse=True)
def its_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's text lies in its own cache."""
    monkeypatch.setattr(
        "peers.training.rerun.training_data", lambda version, tokenizer, settings, peer, say: run.batches(peer)
    )


@pytest.mark.parametrize("how", [{"ahead": 0}, {"ahead": 2}, {"ahead": 1, "left_out": 2}, {"ahead": 1, "missed": 2}])
def test_from_empty_moments_it_is_the_same(run: Run, how: dict[str, int]) -> None:
    road, gift = travelled(run, **how)
    assert gift.diary is not None
    again = rerun(road, WHO, gift.diary, ROUNDS - 1, SETTINGS, print)  # type: ignore[arg-type]
    assert again.exact
    assert again.rounds == ROUNDS
    difference = np.linalg.norm(again.vector - gift.vector) / np.linalg.norm(gift.vector)
    assert difference < 1e-3, "only micro-batches differ"


def test_other_text_is_far_from_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    road, gift = travelled(run, ahead=1)
    monkeypatch.setattr("peers.training.rerun.training_data", lambda *parts: run.batches("another"))
    again = rerun(road, WHO, gift.diary, ROUNDS - 1, SETTINGS, print)  # type: ignore[arg-type]
    assert np.linalg.norm(again.vector - gift.vector) > 0.3 * np.linalg.norm(gift.vector)


def test_where_the_beginning_is_out_of_reach_it_begins_with_empty_moments_later(run: Run) -> None:
    road, gift = travelled(run, ahead=0)
    found = {}
    for road.earliest in (1, 3, ROUNDS - 1):
        again = rerun(road, WHO, gift.diary, ROUNDS - 1, SETTINGS, print)  # type: ignore[arg-type]
        assert not again.exact
        assert again.rounds == ROUNDS - road.earliest
        found[again.rounds] = np.linalg.norm(again.vector - gift.vector) / np.linalg.norm(gift.vector)
    assert found[4] < found[2] < found[1], "the more rounds, the nearer"
    road.earliest = 1
    turns, exact = script_of(road, WHO, gift.diary, ROUNDS - 1, 2)  # type: ignore[arg-type]
    assert ([turn.step for turn in turns], exact) == ([2, 3, 4], False)


def test_a_diary_must_give_the_signed_samples() -> None:
    turns = [Turn(0, 0, 3), Turn(1, 1, 2), Turn(1, 1, 0), Turn(2, 0, 3)]
    told = {0: Told(12, True), 1: Told(16, False), 2: Told(28, True)}
    require_signed_samples(turns, told, 4, from_start=True, who=WHO)
    for at, samples in ((0, 8), (1, 12), (2, 12), (2, 2**40)):
        lie = told | {at: Told(samples, told[at].included)}
        with pytest.raises(RunFailedError, match="is not what it did"):
            require_signed_samples(turns, lie, 4, from_start=True, who=WHO)
    require_signed_samples(turns, told | {0: Told(20, True)}, 4, from_start=False, who=WHO)


def test_without_a_diary_of_that_step_nothing_is_computed(run: Run) -> None:
    road, gift = travelled(run, ahead=0)
    for diary in (None, Diary(True, ()), Diary(True, gift.diary.turns[:-1])):  # type: ignore[union-attr]
        with pytest.raises(CheckpointError, match="does not say how it was made"):
            rerun(road, WHO, diary, ROUNDS - 1, SETTINGS, print)  # type: ignore[arg-type]


def test_a_diary_is_bounded_and_travels_as_json() -> None:
    diarist = Diarist()
    for step in range(MOST_TURNS):
        diarist.note(Turn(step, 0, 1))
    assert diarist.diary().whole
    diarist.note(Turn(MOST_TURNS, 0, 1))
    told = diarist.diary()
    assert (told.whole, len(told.turns), told.turns[0].step) == (False, MOST_TURNS, 1)
    assert Diary.of_json(told.to_json()) == told
    good = told.to_json()
    for bad in (
        good | {"turns": [[1, 2]]}, good | {"turns": [[1, 2, -1]]}, good | {"turns": [[2, 0, 1], [1, 0, 1]]},
        good | {"whole": 1}, good | {"turns": 7}, {}, good | {"turns": [[1, 0, 2**40]]},
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError, KeyError)):
            Diary.of_json(bad)
    diarist.forget()
    assert diarist.diary() == Diary(True, ())
