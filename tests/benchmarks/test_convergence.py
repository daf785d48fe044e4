"""The convergence benchmark compares what it says: the same samples in every variant, from the same checkpoint."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks import convergence
from benchmarks.convergence import BATCH, FLOAT32, PEERS, SHARE, Swarm, Variant, _changed, prepare, swarm_loss
from benchmarks.text import Text

pytestmark = pytest.mark.timeout(240)
WARM, STEPS = 4, 4


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    text = Text(tmp_path_factory.mktemp("run") / "0", None, windows=1)
    with pytest.MonkeyPatch.context() as patch:
        optimizer = {"learning_rate": 4e-3, "warmup_steps": 2}
        patch.setattr(convergence, "CONFIG", convergence.CONFIG | {"optimizer": optimizer})
        assert prepare(text, 0, WARM, STEPS).loss == pytest.approx(np.log(4096), abs=1)
    return text


def swarm(text: Text, variant: Variant) -> Swarm:
    manifest = _changed(text.manifest, variant, WARM + STEPS, None)
    vectors = list(np.load(text.folder / "warm.npz").values())
    return Swarm(text, manifest, WARM // max(1, variant.inner_steps), vectors, variant)


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


def test_local_steps_read_what_the_big_batch_reads(text: Text) -> None:
    every_step = read_by_step(swarm(text, Variant("gradient")), 4)
    assert read_by_step(swarm(text, Variant("local2", 2)), 2) == every_step
    plan = text.batches("one", BATCH)._plan
    for step, refs in enumerate(every_step, WARM):
        found = (plan.sample(step, slot) for slot in range(BATCH))
        assert refs == Counter((ref.language, ref.index) for ref in found if ref is not None)


def test_the_learning_rate_goes_on_where_the_warm_phase_ended(text: Text) -> None:
    from swarm.update.schedule import learning_rate

    one = swarm(text, Variant("local2", 2)).works["a"]
    assert one.rate(WARM // 2) == learning_rate(text.manifest.optimizer, WARM, WARM + STEPS)  # type: ignore[union-attr]


def test_replicas_agree_and_eight_bits_send_less(text: Text) -> None:
    eight, float32 = (swarm_loss(text, variant, WARM, STEPS) for variant in (Variant("gradient"), FLOAT32))
    assert eight.loss == pytest.approx(float32.loss, rel=0.003)
    assert float32.bytes_per_token / eight.bytes_per_token == pytest.approx(4 / 1.0078, rel=0.01)
    local = swarm_loss(text, Variant("local2", 2), WARM, STEPS)
    assert eight.bytes_per_token / local.bytes_per_token == pytest.approx(2, rel=0.001)
    assert len(PEERS) == 4
