"""Shares against the formula of the protocol, by brute force; spans that move as little as possible."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from swarm.averaging.round.assign import Carrier, assign, shares


def seconds(carriers: list[Carrier], fractions: list[float]) -> list[float]:
    """Time each member needs to send: s(1 - f) + f(M - 1) contributions over its bandwidth, clients s."""
    result = []
    for carrier, share in zip(carriers, fractions, strict=True):
        own = 1.0 if carrier.gives else 0.0
        sent = own * (1 - share) + share * (len(carriers) - 1)
        result.append(sent / carrier.bandwidth)
    return result


def peer(mbit: float, *, full: bool = True, gives: bool = True, trust: float = 1.0) -> Carrier:
    return Carrier(mbit * 1e6, full, gives, trust)


def test_equal_peers_have_equal_shares() -> None:
    assert shares([peer(20)] * 8) == pytest.approx([1 / 8] * 8)
    assert shares([peer(20)]) == [1.0]


def test_clients_reduce_nothing_and_full_peers_carry_them() -> None:
    found = shares([peer(20), peer(20), peer(20, full=False), peer(20, full=False)])
    assert found == pytest.approx([0.5, 0.5, 0, 0])
    moved = seconds([peer(1e-6)] * 2 + [peer(1e-6, full=False)] * 2, found)
    assert moved == pytest.approx([0.5 + 1.5, 0.5 + 1.5, 1, 1])  # (F-1)/F + (F+C-1)/F with F = C = 2; 1 for a client


@pytest.mark.parametrize("seed", range(20))
def test_no_other_shares_are_faster(seed: int) -> None:
    """The slowest peer's time is the least there is: moving share between any two full peers does not help."""
    random = np.random.default_rng(seed)
    carriers = [
        peer(
            float(random.choice([5, 20, 100, 1000])),
            full=bool(random.random() < 0.8),
            gives=bool(random.random() < 0.8),
        )
        for _ in range(random.integers(2, 9))
    ]
    carriers.append(peer(20))  # at least one full peer
    found = shares(carriers)
    assert sum(found) == pytest.approx(1)
    assert all(share >= 0 for share in found)
    best = max(seconds(carriers, found))
    full = [i for i, carrier in enumerate(carriers) if carrier.full]
    for giver in full:
        for taker in full:
            for amount in (0.001, 0.03, 0.2):
                if giver != taker and found[giver] >= amount:
                    other = list(found)
                    other[giver] -= amount
                    other[taker] += amount
                    assert max(seconds(carriers, other)) >= best * (1 - 1e-6)


def test_a_peer_that_is_too_slow_reduces_nothing() -> None:
    found = shares([peer(1), peer(100), peer(100)])
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(0.5)


def test_one_that_gives_nothing_can_carry_more() -> None:
    """`assist`: a machine that only averages has its whole uplink for it."""
    found = shares([peer(20), peer(20), peer(20, gives=False)])
    assert found[2] > 1.5 * found[0]


def test_a_newcomer_gets_less_and_an_unknown_speed_counts_as_usual() -> None:
    found = shares([peer(20), peer(20), peer(20, trust=0.5)])
    assert found[2] < found[0] == pytest.approx(found[1])
    assert shares([peer(20), Carrier(0.0, full=True, gives=True), peer(20)]) == pytest.approx([1 / 3] * 3)


def test_only_clients_share_equally() -> None:
    assert shares([peer(20, full=False)] * 4) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("spans", [1, 7, 21, 100])
def test_every_span_has_one_reducer_and_counts_follow_the_shares(spans: int) -> None:
    fractions = [0.5, 0.25, 0.25, 0.0]
    found = assign(spans, fractions, [None] * spans)
    assert len(found) == spans
    counts = Counter(found)
    assert counts[3] == 0
    assert all(abs(counts[i] - share * spans) < 1 for i, share in enumerate(fractions))


def test_spans_stay_where_they_are() -> None:
    before = assign(100, [0.25] * 4, [None] * 100)
    assert assign(100, [0.25] * 4, before) == before
    without = [None if owner == 2 else owner for owner in before]
    after = assign(100, [1 / 3, 1 / 3, 0.0, 1 / 3], without)
    moved = sum(1 for a, b in zip(before, after, strict=True) if a != b)
    assert moved == 25  # the spans of the one who left, and no other
    assert 2 not in after


def test_a_vector_that_grew_or_shrank_is_assigned_too() -> None:
    assert len(assign(10, [0.5, 0.5], (0, 1))) == 10
    assert len(assign(2, [0.5, 0.5], (0, 1) * 10)) == 2
