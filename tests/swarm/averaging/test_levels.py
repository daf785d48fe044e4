"""Two levels: everybody gets the same bytes, for the bytes and contacts that protocol.md states."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from swarm.averaging.codec import codec_named, decode
from swarm.averaging.levels import Levels, arrange, cut, exchange, group_count, parts, traffic
from swarm.averaging.round.assign import Carrier

INT8 = codec_named("int8-block@1")
FULL = Carrier(20e6, full=True, gives=True)
CLIENT = Carrier(20e6, full=False, gives=True)


def order(levels: Levels, size: int) -> list[slice]:
    """Which slice each mean of `Exchange.means` is of."""
    found = [part for p, column in enumerate(levels.columns(size)) for part in parts(levels, column, p)]
    return [part for part in found if part.start < part.stop]


@pytest.mark.parametrize("peers", [2, 7, 64, 65, 66, 67, 97, 100, 127, 250, 1000, 1009, 1024, 4099, 10_000])
def test_bytes_and_contacts_stay_within_the_protocols_bounds(peers: int) -> None:
    levels = arrange([FULL] * peers)
    count, positions = len(levels.owners), len(levels.fractions)
    most = max(traffic(levels).values(), key=lambda moved: moved.sent)
    assert most.sent <= 2.05
    assert most.received <= 2.05
    assert levels.contacts <= positions + count - 2 + 1  # one more where a group has a member that is over
    assert (count == 1) == (peers <= 64)
    if peers >= 1000:
        assert levels.contacts < 2.6 * peers**0.5
    everyone = sorted(index for group in range(count) for index in levels.members(group))
    assert everyone == list(range(peers))


def test_the_published_arrangements() -> None:
    assert group_count(64) == 1
    for peers, groups in ((1024, 32), (10_000, 100)):
        levels = arrange([FULL] * peers)
        assert len(levels.owners) == groups
        assert levels.contacts == 2 * groups - 2


def test_a_client_moves_little_and_owns_nothing() -> None:
    levels = arrange([FULL, CLIENT] * 500)
    moved = traffic(levels)
    assert all(moved[i].sent <= 1.02 and moved[i].received <= 1.02 for i in range(1, 1000, 2))
    owning = {index for owners in levels.owners for index in owners}
    assert owning <= set(range(0, 1000, 2))
    sizes = [len(levels.members(group)) for group in range(len(levels.owners))]
    assert max(sizes) - min(sizes) <= 1


def test_fast_peers_own_more_and_stand_beside_each_other() -> None:
    random = np.random.default_rng(0)
    roster = [Carrier(float(speed), full=True, gives=True) for speed in random.choice([20e6, 100e6], 400)]
    levels = arrange(roster)
    assert abs(sum(levels.fractions) - 1) < 1e-9
    assert list(levels.fractions) == sorted(levels.fractions, reverse=True)
    assert levels.fractions[0] > 2 * levels.fractions[-1]
    moved = traffic(levels)
    slowest = max(moved[i].sent / roster[i].bandwidth for i in moved)
    equal = max(2.0 / peer.bandwidth for peer in roster)
    assert slowest < 0.75 * equal


@pytest.mark.parametrize("peers", [5, 65, 66, 67, 150])
@pytest.mark.parametrize("size", [100_000, 4096])
def test_everyone_gets_the_same_bytes_of_the_right_mean(peers: int, size: int) -> None:
    """Real frames through both levels; a vector shorter than a block a peer leaves some owners without any."""
    random = np.random.default_rng(peers)
    roster = [Carrier(float(speed), full=True, gives=True) for speed in random.choice([20e6, 100e6], peers)]
    levels = arrange(roster)
    shared = random.standard_normal(size, dtype=np.float32)
    vectors = [shared + random.standard_normal(size, dtype=np.float32) for _ in range(peers)]
    weights = [float(weight) for weight in random.integers(1, 30, peers)]
    done = exchange(INT8, levels, vectors, weights)
    assert all(means == done.means[0] for means in done.means)
    mean = np.full(size, np.nan, np.float32)
    for part, frame in zip(order(levels, size), done.means[0], strict=True):
        assert np.isnan(mean[part]).all()
        mean[part] = decode(INT8, frame, part.stop - part.start)
    exact = sum(vector.astype(np.float64) * weight for vector, weight in zip(vectors, weights, strict=True)) / sum(
        weights
    )
    assert np.linalg.norm(mean - exact) < 0.011 * np.linalg.norm(exact)


def test_the_bytes_that_moved_are_those_of_the_closed_form() -> None:
    """On a vector that divides without remainder, headers of frames apart."""
    levels = arrange([FULL] * 66)
    assert [len(owners) for owners in levels.owners] == [22, 22, 22]
    size = 22 * 3 * 256
    done = exchange(INT8, levels, [np.ones(size, np.float32)] * 66, [1.0] * 66)
    predicted = traffic(levels)
    for index in range(66):
        frames = 21 + 2 + 2 + 3 * 21  # contributions, partial sums, a mean to two groups, three to each member
        header = 24 * frames + 2 * 2  # and the exponents of the partial sums
        assert abs(done.sent[index] - header - predicted[index].sent * size) < 1, index
    assert sum(done.sent) == sum(done.received)


@pytest.mark.parametrize("stop", [1, 255, 256, 257, 10_000])
def test_cuts_are_whole_blocks_without_gaps(stop: int) -> None:
    for fractions in ([1.0], [0.5, 0.5], [0.1] * 10, [0.7, 0.0, 0.3]):
        slices = cut(0, stop, fractions)
        assert slices[0].start == 0
        assert slices[-1].stop == stop
        assert all(a.stop == b.start for a, b in pairwise(slices))
        assert all(part.start % 256 == 0 or part.start == stop for part in slices)
