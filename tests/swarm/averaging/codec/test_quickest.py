"""Which of two equal ways is taken: the faster one, after a few trials; the results never depend on it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from swarm.averaging.codec import int8_block
from swarm.averaging.codec.base import PIECE, readable
from swarm.averaging.codec.quickest import TRIALS, Quickest


def test_after_a_few_trials_the_fastest_is_taken() -> None:
    calls: list[str] = []

    def slow() -> None:
        calls.append("slow")
        time.sleep(0.002)

    def fast() -> None:
        calls.append("fast")

    quickest = Quickest(slow, fast)
    for _ in range(4 * TRIALS):
        quickest(trial=True)
    assert calls == ["slow", "fast"] * TRIALS + ["fast"] * 2 * TRIALS


def test_what_is_too_small_to_be_measured_counts_as_no_trial() -> None:
    calls: list[str] = []
    quickest = Quickest(lambda: calls.append("first"), lambda: calls.append("second"))
    for _ in range(10):
        quickest(trial=False)
    assert calls == ["first"] * 10
    assert quickest.trials == 0


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000, PIECE - 1, PIECE])
def test_both_ways_to_unpack_give_the_same_bits(size: int) -> None:
    rng = np.random.default_rng(size)
    codes = rng.integers(-127, 128, size, dtype=np.int8)
    scales = np.exp(rng.uniform(-80, 80, int8_block.blocks_of(size))).astype(np.float32)
    codes.flags.writeable = False
    one, two = np.empty(size, np.float32), np.full(size, np.nan, np.float32)
    int8_block._in_one_pass(codes, scales, one)
    int8_block._in_two_passes(codes, scales, two)
    assert one.tobytes() == two.tobytes()


def test_read_only_memory_is_looked_at_and_not_copied() -> None:
    frozen = np.frombuffer(bytes(range(100)), np.uint8)[10:]
    seen = readable(frozen)
    assert seen.__array_interface__["data"][0] == frozen.__array_interface__["data"][0]
    assert (seen == frozen).all()
    mine = np.arange(5)
    assert readable(mine) is mine
