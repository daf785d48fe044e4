"""What training relies on, asked of every adapter in `adapters.GROUPS`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gradients import flat, snapshots
from swarm.averaging.averager import Averaged, Contribution, Missed
from tests.swarm.averaging.adapters import GROUPS, SAMPLES, Kind, dense, gift

pytestmark = pytest.mark.timeout(180)
SIZE = 20_001  # not a whole number of spans, and more than one of hivemind's blocks
REAL = ("hivemind", "round-daemons")


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.real] * (name in REAL)) for name in GROUPS])
def kind(request: pytest.FixtureRequest) -> Kind:
    return GROUPS[request.param]


@pytest.fixture(scope="session")
def gradients() -> list[np.ndarray]:
    """Of a small BLOOM on text in many languages, in its first two steps: (1.3M,) float32 each."""
    return [flat(tensors) for tensors in snapshots(1).values()][:2]


def vectors(count: int, size: int = SIZE) -> list[np.ndarray]:
    return [np.random.default_rng(seed).standard_normal(size, dtype=np.float32) for seed in range(count)]


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_the_mean_is_weighted_and_everybody_gets_the_same(kind: Kind) -> None:
    samples = [1, 4, 11]
    with kind.start(3, SIZE) as group:
        gifts = {peer: gift(v, n) for peer, v, n in zip(group.peers, vectors(3), samples, strict=True)}
        outcomes = group.round(0, gifts)
        wanted = sum(np.float64(n) * v for n, v in zip(samples, vectors(3), strict=True)) / sum(samples)
        found = {peer: dense(outcome) for peer, outcome in outcomes.items()}
        for peer in group.peers:
            outcome = outcomes[peer]
            assert error(found[peer], wanted) < kind.error
            assert (outcome.step, outcome.included, outcome.samples) == (0, True, 16)
            assert [(m.peer_id, m.samples, m.weight) for m in outcome.roster] == [
                (p, n, float(n)) for p, n in zip(group.peers, samples, strict=True)
            ]
            assert group.averagers[peer].roster() == tuple(group.peers)
            assert outcome.stats.bytes_sent > SIZE / 4
            assert outcome.stats.bytes_received > SIZE / 4
        if kind.identical:
            assert len({vector.tobytes() for vector in found.values()}) == 1
            assert len({outcome.mean.squared_norm() for outcome in outcomes.values()}) == 1
        assert not np.allclose(found[group.peers[0]], vectors(3)[0], atol=0.1), "it is not what this peer gave"


def test_real_gradients_come_back_within_three_percent(kind: Kind, gradients: list[np.ndarray]) -> None:
    with kind.start(2, len(gradients[0])) as group:
        outcomes = group.round(0, {peer: gift(v, 8) for peer, v in zip(group.peers, gradients, strict=True)})
        for outcome in outcomes.values():
            assert error(dense(outcome), sum(gradients) / 2) < min(0.03, kind.error)


def test_several_rounds_one_after_another(kind: Kind) -> None:
    with kind.start(2, SIZE) as group:
        for step in range(3):
            for peer, record in group.told.items():
                group.told[peer] = record.model_copy(update={"step": step})
            given = vectors(2 + 2 * step)[-2:]
            outcomes = group.round(step, {peer: gift(v, 1) for peer, v in zip(group.peers, given, strict=True)})
            for outcome in outcomes.values():
                assert error(dense(outcome), (given[0] + given[1]) / 2) < kind.error


def test_being_alone_is_not_an_error(kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    (vector,) = vectors(1)
    with kind.start(1, SIZE) as group:
        (peer,) = group.peers
        assert group.averagers[peer].roster() == ()
        outcome = group.round(0, {peer: gift(vector, 4)})[peer]
        assert error(dense(outcome), vector) < kind.error
        assert [member.peer_id for member in outcome.roster] == [peer]
        assert group.averagers[peer].roster() == (peer,)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_due_when_the_batch_is_full_and_not_before(kind: Kind) -> None:
    with kind.start(2, SIZE) as group:
        first, second = group.peers
        averager = group.averagers[first]
        assert not averager.due(0, 0)
        assert not averager.due(0, 1)
        assert kind.foresees or not averager.due(0, SAMPLES - 1)
        group.averagers[second].due(0, SAMPLES)
        group.asked(first, 0, SAMPLES)


def test_nothing_to_give_is_a_value_too(kind: Kind) -> None:
    nothing = Contribution(np.empty(0, np.float32), weight=0.0, samples=0)
    with kind.start(2, SIZE) as group:
        first, second = group.peers
        if not kind.takes_nothing:
            assert isinstance(group.averagers[second].average(0, nothing), Missed)
            return
        given = vectors(1)[0]
        outcomes = group.round(0, {first: gift(given, 3), second: nothing})
        for outcome in outcomes.values():
            assert error(dense(outcome), given) < kind.error
            assert [(member.peer_id, member.samples) for member in outcome.roster] == [(first, 3), (second, 0)]
        for outcome in group.round(1, {first: nothing, second: nothing}).values():
            if isinstance(outcome, Missed):
                assert not outcome.behind
            else:
                assert all(values is None for _, values in outcome.mean.spans()), "an update that nobody gave"
                assert outcome.samples == 0


def test_a_peer_that_is_behind_is_told_so_and_not_averaged(kind: Kind) -> None:
    with kind.start(2, SIZE) as group:
        first, second = group.peers
        outcomes = group.round(0, {peer: gift(v, 2) for peer, v in zip(group.peers, vectors(2), strict=True)})
        assert all(isinstance(outcome, Averaged) for outcome in outcomes.values())
        for peer, record in group.told.items():
            group.told[peer] = record.model_copy(update={"step": 1})
        late = group.averagers[second].average(0, gift(vectors(1)[0], 2))
        assert isinstance(late, Missed)
        assert late.behind
        assert group.averagers[second].due(0, 0), "an outcome waits: nothing must be computed for step 0"
        assert group.averagers[first].roster() == (first, second)


def test_the_others_go_on_when_a_peer_has_left(kind: Kind) -> None:
    with kind.start(3, SIZE) as group:
        gone = group.peers[1]
        group.averagers[gone].close()
        group.averagers[gone].close()
        group.told.pop(gone, None)
        assert isinstance(group.averagers[gone].average(0, gift(vectors(1)[0], 1)), Missed)
        rest = [peer for peer in group.peers if peer != gone]
        outcomes = group.round(0, {peer: gift(v, 1) for peer, v in zip(rest, vectors(2), strict=True)})
        for outcome in outcomes.values():
            assert error(dense(outcome), sum(vectors(2)) / 2) < kind.error
            assert [member.peer_id for member in outcome.roster] == rest
