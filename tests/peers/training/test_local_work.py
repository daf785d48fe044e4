"""Mode "local" in one process: the overlap rule loses nothing, and N equal peers move as one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from peers.training.local_work import LocalWork
from swarm.averaging.averager import Averaged, Contribution, Member, Missed, Outcome
from swarm.averaging.mean import FloatMean
from swarm.data.batches import Batches
from swarm.data.plan import Plan
from swarm.data.sources import texts_by_language
from swarm.data.store import open_store
from swarm.data.tokenizer import load, train
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.initial import initial_vector
from swarm.model.inner import InnerOptimizer
from swarm.model.memory import MicroBatch
from swarm.run.manifest import parse_config
from swarm.run.schema import RunConfig
from swarm.state.shared import SharedState

STEPS = 3


class Calls:
    """An averager that is due after a number of samples."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def due(self, step: int, samples: int) -> bool:
        return samples >= self.samples

    def roster(self) -> tuple[str, ...]:
        return ()


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LocalWork]:
    config = parse_config(
        {
            "name": "small",
            "model": {"vocab_size": 400, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 16},
            "data": {"sources": [{"kind": "starter", "languages": ["en", "fr"]}]},
            "training": {
                "mode": "local",
                "steps": 8,
                "global_batch": 16,
                "local": {"inner_steps": 3, "inner_batch": 4, "outer": {"learning_rate": 1.0, "momentum": 0.0}},
            },
            "optimizer": {"learning_rate": 1e-2, "warmup_steps": 1},
            "averaging": {"span_size": 1024},
        },
        "the test",
    )
    tokenizer = load(train(texts_by_language(config.data, None), 400))
    cache = tmp_path_factory.mktemp("cache")
    store = open_store(config.data, tokenizer, 16, root=None, cache=cache)
    data = config.data.model_copy(update={"stock": store.stock})

    def work(peer: str = "a", overlap: bool = False) -> LocalWork:
        local = config.training.local.model_copy(update={"overlap": overlap})
        training = config.training.model_copy(update={"local": local})
        mine: RunConfig = config.model_copy(update={"training": training})
        state = SharedState.initial(mine, initial_vector(config.model))
        model = model_from_vector(config.model, state.parameters)
        return LocalWork(
            mine,
            state,
            GradientAccumulator(model, state.layout),
            InnerOptimizer(model, state.layout, config.optimizer),
            Batches(store, Plan(data, 16), peer),
            micro_batch=MicroBatch(3, print),
            tell=lambda samples: None,
        )

    return work


def committed(work: LocalWork, vector: np.ndarray, included: bool = True) -> Averaged:
    return Averaged(work.state.step, FloatMean(vector, 1024), (Member("a", 12, 12.0),), included=included)


def commit(work: LocalWork, vector: np.ndarray, included: bool = True) -> None:
    outcome = committed(work, vector, included)
    work.state.apply(outcome)
    work.update(outcome)


def test_alone_with_rate_one_and_no_momentum_the_swarm_is_where_the_peer_is(make: Callable[..., LocalWork]) -> None:
    work = make()
    start = work.anchor.copy()
    for step in range(STEPS):
        gift = work.contribution(step, Calls(12))  # type: ignore[arg-type]
        assert (gift.samples, gift.weight, work.done) == (12, 12.0, 0)
        trained = work.inner.vector()
        commit(work, gift.vector)
        assert np.abs(work.state.parameters - trained).max() < 1e-6
        assert np.array_equal(work.inner.vector(), work.state.parameters)
    assert np.abs(work.state.parameters - start).max() > 1e-3


def test_what_was_trained_during_the_round_is_kept_on_top_of_the_new_anchor(make: Callable[..., LocalWork]) -> None:
    work = make(overlap=True)
    gift = work.contribution(0, Calls(12))  # type: ignore[arg-type]
    cut = work.inner.vector()
    for _ in range(4):
        work.train(1)
    since = work.inner.vector() - cut
    assert np.abs(since).max() > 1e-3
    other = np.full_like(gift.vector, 0.01)
    commit(work, (gift.vector + other) / 2)
    assert np.abs(work.inner.vector() - (work.state.parameters + since)).max() < 1e-6
    assert work.samples == 16
    again = work.contribution(1, Calls(12))  # type: ignore[arg-type]
    assert np.abs(again.vector + since).max() < 1e-6, "the next delta holds exactly what this round did not"
    assert again.samples == 16


def test_a_delta_that_was_not_included_goes_into_the_next_round_once(make: Callable[..., LocalWork]) -> None:
    work = make()
    first = work.contribution(0, Calls(12))  # type: ignore[arg-type]
    commit(work, np.full_like(first.vector, 0.01), included=False)
    second = work.contribution(1, Calls(0))  # type: ignore[arg-type]
    assert second.samples == first.samples, "due at once: nothing new, but the old delta is still owed"
    assert np.abs(second.vector - first.vector).max() < 1e-6
    commit(work, second.vector)
    third = work.contribution(2, Calls(0))  # type: ignore[arg-type]
    assert third.samples == 0


def test_a_delta_that_three_rounds_passed_over_is_dropped(make: Callable[..., LocalWork]) -> None:
    work = make()
    gift = work.contribution(0, Calls(12))  # type: ignore[arg-type]
    for step in range(3):
        kept = work.contribution(step, Calls(0))  # type: ignore[arg-type]
        assert kept.samples == gift.samples, step
        commit(work, np.full_like(gift.vector, 0.01), included=False)
    assert np.array_equal(work.inner.vector(), work.state.parameters)
    assert work.contribution(3, Calls(0)).samples == 0  # type: ignore[arg-type]


def test_after_a_missed_round_reading_goes_on_and_does_not_begin_again(make: Callable[..., LocalWork]) -> None:
    work = make()
    work.contribution(0, Calls(12))  # type: ignore[arg-type]
    work.contribution(0, Calls(8))  # type: ignore[arg-type]
    assert work.batches.cursor()["drawn"] == 20
    assert sum(work.batches.coverage.distinct.values()) == 20, "no sample was read twice"


def test_nothing_is_trained_during_the_last_round(make: Callable[..., LocalWork]) -> None:
    work = make(overlap=True)
    work.contribution(7, Calls(12))  # type: ignore[arg-type]
    trained = threading.Event()
    work.tell = lambda samples: trained.set()
    assert not work.exchange(7, lambda: trained.wait(1)), "it could not be given any more"  # type: ignore[arg-type, return-value]


def test_in_a_round_that_does_not_end_training_ahead_does(make: Callable[..., LocalWork]) -> None:
    work, told, ended = make(overlap=True), threading.Semaphore(0), threading.Event()
    work.tell = lambda samples: told.release()
    for given in (STEPS, 2 * STEPS):
        work.contribution(0, Calls(4 * given))  # type: ignore[arg-type]
        while told.acquire(blocking=False):
            pass

        def stuck(given: int = given) -> Missed:
            ahead = [told.acquire(timeout=10) for _ in range(2 * given)]
            assert all(ahead), "twice as many as were given"
            ended.wait(0.2)  # in which many more would be taken
            return Missed(0, "stuck")

        work.exchange(0, stuck)
        assert work.ahead == 2 * given
        work.restart()


def test_void_spans_keep_their_delta(make: Callable[..., LocalWork]) -> None:
    work = make()
    gift = work.contribution(0, Calls(12))  # type: ignore[arg-type]
    outcome = Averaged(0, FloatMean(gift.vector, 1024, void={1}), (Member("a", 12, 12.0),))
    work.state.apply(outcome)
    work.update(outcome)
    rest = np.subtract(work.anchor, work.inner.vector())
    assert np.abs(rest[:1024]).max() < 1e-6
    assert np.abs(rest[1024:2048] - gift.vector[1024:2048]).max() < 1e-6
    assert np.abs(gift.vector[1024:2048]).max() > 1e-3


def test_a_missed_round_changes_nothing_and_training_went_on_meanwhile(make: Callable[..., LocalWork]) -> None:
    work = make(overlap=True)
    gift: Contribution = work.contribution(0, Calls(12))  # type: ignore[arg-type]
    cut = work.inner.vector()
    trained = threading.Event()
    work.tell = lambda samples: trained.set() if samples >= 12 else None

    def slow() -> Outcome:
        assert trained.wait(30)
        return Missed(0, "timeout: nobody answered")

    assert isinstance(work.exchange(0, slow), Missed)
    since = work.inner.vector() - cut
    again = work.contribution(0, Calls(0))  # type: ignore[arg-type]
    assert again.samples >= gift.samples + 12
    assert np.abs(again.vector - (gift.vector - since)).max() < 1e-6


def test_a_restart_forgets_what_is_not_the_swarms(make: Callable[..., LocalWork]) -> None:
    work = make()
    work.contribution(0, Calls(12))  # type: ignore[arg-type]
    work.restart()
    assert np.array_equal(work.inner.vector(), work.state.parameters)
    assert work.contribution(0, Calls(0)).samples == 0  # type: ignore[arg-type]
    assert work.inner.warmth() < 1.0


def test_the_rate_follows_the_swarms_clock_and_not_a_peers_speed(make: Callable[..., LocalWork]) -> None:
    work, fast = make(), make("b")
    fast.done = 1000
    assert work.rate(2) > fast.rate(2) >= work.rate(3)
    newcomer = make("c")
    assert newcomer.rate(5) == work.rate(5)
