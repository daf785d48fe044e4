"""hivemind's averaging must prove itself: broken on purpose, it may miss a round but never claims a mean it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hivemind.compression import BlockwiseQuantization

from swarm.averaging.averager import Member, Missed
from swarm.averaging.hivemind import averaged, canary_of, group, unchanged
from tests.swarm.averaging.adapters import gift, hivemind

SIZE = 150_000
Extract = Any
REAL = BlockwiseQuantization.extract


def refuses(self: BlockwiseQuantization, tensor: Any) -> torch.Tensor:
    """What happens with numpy 2.4: hivemind bans the sender, and the round "finishes"."""
    raise TypeError("only 0-dimensional arrays can be converted to Python scalars")


def forgets(self: BlockwiseQuantization, tensor: Any) -> torch.Tensor:
    """All that arrives counts as zeros."""
    return torch.zeros_like(REAL(self, tensor))


def doubles(self: BlockwiseQuantization, tensor: Any) -> torch.Tensor:
    return 2 * REAL(self, tensor)


@pytest.mark.real
@pytest.mark.timeout(180)
@pytest.mark.parametrize("broken", [refuses, forgets, doubles])
def test_a_broken_codec_is_a_missed_round_for_everybody(broken: Extract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockwiseQuantization, "extract", broken)
    monkeypatch.setattr("swarm.averaging.hivemind.PATIENCE_SECONDS", 6.0)
    with hivemind(2, SIZE) as pair:
        given = [np.random.default_rng(seed).standard_normal(SIZE) for seed in range(2)]
        outcomes = pair.round(0, {peer: gift(v, 4) for peer, v in zip(pair.peers, given, strict=True)})
        assert [type(outcome) for outcome in outcomes.values()] == [Missed, Missed]
        assert all(averager.roster() == () for averager in pair.averagers.values())


MEMBERS = (Member("a", 3, 3.0), Member("b", 5, 5.0))


def test_the_canary_tells_who_is_in_the_mean_and_with_what_weight() -> None:
    a, b = canary_of("a", 7), canary_of("b", 7)
    assert 1 <= a != b <= 2
    assert averaged(np.full(8, (3 * a + 5 * b) / 8, np.float32), MEMBERS, 7)
    for wrong in (a, b, (a + b) / 2, 0.0, np.nan):
        assert not averaged(np.full(8, wrong, np.float32), MEMBERS, 7), wrong
    assert not averaged(np.full(8, (3 * a + 5 * b) / 8, np.float32), MEMBERS, 8), "the canary of another step"


def test_one_part_that_came_back_as_it_was_given_is_found_and_zeros_are_not_blamed() -> None:
    before = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    after = before + np.float32(1)
    assert not unchanged(after, before)
    after[65_536:131_072] = before[65_536:131_072]
    assert unchanged(after, before)
    assert not unchanged(np.zeros(70_000, np.float32), np.zeros(70_000, np.float32))


GOOD = {"step": 2, "samples": 4}


@pytest.mark.parametrize(
    "told",
    [None, [], "x", {}, {"step": 2}, {"step": 3, "samples": 4}, *({"step": 2, "samples": n} for n in (0, -1, 2**31))]
    + [{"step": 2, "samples": value} for value in (True, 1.5, "4", None, float("nan"))],
)
def test_what_strangers_say_of_themselves_is_refused_unless_it_is_exactly_what_we_ask(told: Any) -> None:
    assert group({"b": GOOD, "a": GOOD}, 2) == (Member("a", 4, 4.0), Member("b", 4, 4.0))  # type: ignore[dict-item]
    assert group({"a": GOOD, "b": told}, 2) is None  # type: ignore[dict-item]
