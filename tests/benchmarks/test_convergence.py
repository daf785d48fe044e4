"""The convergence benchmark compares what it says: the same samples in every variant, from the same checkpoint."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.convergence import CONFIG, FLOAT32
from benchmarks.text import Text
from benchmarks.trainings import BATCH, PEERS, SHARE, Swarm, Training, Variant, one_machine, swarm_result
from swarm.update.schedule import learning_rate

pytestmark = pytest.mark.timeout(240)
WARM, STEPS = 4, 4


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    text = Text(tmp_path_factory.mktemp("run") / "0", None, windows=1)
    config = CONFIG | {"optimizer": {"learning_rate": 4e-3, "warmup_steps": 2}}
    training = Training(text, config, 0, WARM, STEPS)
    result = one_machine(training)
    vocabulary = CONFIG["model"]["vocab_size"]
    assert result.loss == pytest.approx(np.log(vocabulary), abs=1)
    assert set(result.before) == set(result.losses) == set(text.manifest.data.stock)
    return training


def read_by_step(swarm: Swarm, rounds: int) -> list[Counter[tuple[str, int]]]:
    """The samples that all peers together read, by inner step."""
    found: list[list[tuple[str, int]]] = []
    for work in swarm.works.values():
        mine, following = [], work.batches.next

        def keep(samples: int, following=following, mine=mine):  # type: ignore[no-untyped-def]
            batch = following(samples)
            mine.extend((ref.language, ref.index) for ref in batch.refs)
            return batch

        work.batches.next = keep  # type: ignore[method-assign]
        found.append(mine)
    for _ in range(rounds):
        swarm.round()
    steps = range(0, len(found[0]), SHARE)
    return [Counter(ref for mine in found for ref in mine[start : start + SHARE]) for start in steps]


def test_local_steps_read_what_the_big_batch_reads(training: Training) -> None:
    every_step = read_by_step(Swarm(training, Variant("gradient")), 4)
    assert read_by_step(Swarm(training, Variant("local2", 2)), 2) == every_step
    plan = training.text.batches("one", BATCH)._plan
    for step, refs in enumerate(every_step, WARM):
        found = (plan.sample(step, slot) for slot in range(BATCH))
        assert refs == Counter((ref.language, ref.index) for ref in found if ref is not None)


def test_the_learning_rate_goes_on_where_the_warm_phase_ended(training: Training) -> None:
    one = Swarm(training, Variant("local2", 2)).works["peer0"]
    assert one.rate(WARM // 2) == learning_rate(training.text.manifest.optimizer, WARM, WARM + STEPS)  # type: ignore[union-attr]


def test_replicas_agree_and_eight_bits_send_less(training: Training) -> None:
    eight, float32 = (swarm_result(training, variant) for variant in (Variant("gradient"), FLOAT32))
    assert eight.loss == pytest.approx(float32.loss, rel=0.003)
    assert float32.bytes_per_token / eight.bytes_per_token == pytest.approx(4 / 1.0078, rel=0.01)
    local = swarm_result(training, Variant("local2", 2))
    assert eight.bytes_per_token / local.bytes_per_token == pytest.approx(2, rel=0.001)
    assert len(Swarm(training, Variant("two", 2, peers=2)).peers) == 2 != PEERS


def test_a_late_contribution_belongs_to_the_parameters_before(training: Training) -> None:
    in_time, late = Swarm(training, Variant("gradient")), Swarm(training, Variant("late", late=True))
    for swarm in (in_time, late):
        swarm.round()
    first, second = (swarm.states["peer0"].parameters.copy() for swarm in (in_time, late))
    assert np.array_equal(first, second)  # there is nothing to be late against in the first round
    before = Swarm(training, Variant("gradient"))  # still at the checkpoint
    before.network.step += 1
    expected = before.works["peer0"].contribution(WARM + 1, before.averagers["peer0"])
    assert np.array_equal(late._ready["peer0"].vector, expected.vector)
    for swarm in (in_time, late):
        swarm.round()
        swarm.check_replicas()
    assert not np.array_equal(in_time.states["peer0"].parameters, late.states["peer0"].parameters)


def test_a_newcomer_has_the_shared_state_and_nothing_else(training: Training) -> None:
    swarm = Swarm(training, Variant("newcomer", 2, newcomers=1))
    swarm.round()
    steps = [work.inner.steps for work in swarm.works.values()]  # type: ignore[union-attr]
    assert sorted(steps) == [0, 2, 2, 2]
    swarm.check_replicas()
