"""Which checkpoints an archive keeps: the same whether it thins after each or after all, never more than it says."""

from __future__ import annotations

import random

import pytest

from peers.state.retention import kept, most


def test_the_newest_and_one_for_each_power_of_ten() -> None:
    assert kept(range(0, 1_001, 4), newest=3, every=4) == {1000, 996, 992, 960, 800}
    assert kept([12, 8, 4], newest=5, every=4) == {4, 8, 12}
    assert kept([], newest=1, every=8) == set()


@pytest.mark.parametrize("newest", [1, 2, 5])
@pytest.mark.parametrize("every", [1, 4, 8])
def test_thinning_after_each_is_thinning_after_all(newest: int, every: int) -> None:
    held: set[int] = set()
    for step in range(every, 1_300 * every, every):
        held = kept(held | {step}, newest, every)
        assert len(held) <= most(step, newest, every)
        if step % (37 * every) == 0:
            assert held == kept(range(every, step + 1, every), newest, every)


def test_steps_that_are_missing_leave_no_more_than_the_bound() -> None:
    chance = random.Random(5)
    for _ in range(200):
        held: set[int] = set()
        for step in sorted(chance.sample(range(1, 5_000), 60)):
            held = kept(held | {step}, 3, 4)
            assert max(held) == step
            assert len(held) <= most(step, 3, 4)
