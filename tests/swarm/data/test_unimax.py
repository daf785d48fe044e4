"""UniMax and the cap on repeats, against the paper's own algorithm and against what a run would really read."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.data.mixture import BLOCK, capped, mixture_of
from swarm.data.plan import Plan
from swarm.errors import ConfigError
from swarm.schema import DataSpec, LanguageStock, SourceSpec


def data(
    sequences: dict[str, int], sampling: str = "unimax", max_repeats: float | None = 4.0, **weights: float
) -> DataSpec:
    stock = {
        code: LanguageStock(documents=1, text_bytes=n * 100, tokens=n * 32, sequences=n, digest="0" * 64)
        for code, n in sequences.items()
    }
    sources = tuple(
        SourceSpec(kind="jsonl", path=f"{code}.jsonl", language=code, weight=weights.get(code, 1.0))
        for code in sequences
    )
    return DataSpec(sources=sources, sampling=sampling, max_repeats=max_repeats, stock=stock)  # type: ignore[arg-type]


def as_in_the_paper(sizes: dict[str, int], repeats: int, budget: int) -> dict[str, Fraction]:
    """Chung et al. 2023, algorithm 1: languages from the smallest on, each an equal share of what is left."""
    left, draws = Fraction(budget), {}
    ordered = sorted(sizes.items(), key=lambda item: item[1])
    for number, (code, size) in enumerate(ordered):
        draws[code] = min(left / (len(ordered) - number), Fraction(size * repeats))
        left -= draws[code]
    return draws


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=12), st.integers(1, 10), st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
def test_unimax_is_the_papers(sizes: list[int], repeats: int, share: float) -> None:
    named = {f"l{chr(97 + index)}": size for index, size in enumerate(sizes)}
    budget = max(1, int(share * repeats * sum(sizes)))
    caps = {code: Fraction(size * repeats) for code, size in named.items()}
    found = capped(dict.fromkeys(named, Fraction(1)), caps, budget)
    assert found == as_in_the_paper(named, repeats, budget)
    assert sum(found.values()) == budget


@pytest.mark.parametrize("sampling", ["temperature", "unimax"])
def test_over_a_whole_run_no_text_is_read_more_often_than_allowed(sampling: str) -> None:
    sizes = {"en": 5000, "fr": 800, "wo": 20}
    batch, steps = 16, 500
    plan = Plan(data(sizes, sampling), batch, steps)
    read: Counter[str] = Counter()
    for step in range(steps):
        for slot in range(batch):
            ref = plan.sample(step, slot)
            assert ref is not None
            read[ref.language] += 1
    slack = batch * steps / BLOCK + 2
    assert all(read[code] <= 4 * size + slack for code, size in sizes.items()), read
    assert read["wo"] >= 4 * 20 - slack, "and a small one gets all that it may"
    if sampling == "unimax":
        assert read["fr"] == pytest.approx(3200, abs=slack), "an equal share would be 3,960; its cap is 3,200"


def test_without_a_cap_in_reach_all_are_alike_but_for_their_weight() -> None:
    mixture = mixture_of(data({"en": 10_000, "fr": 1000, "sw": 500}, sw=0.5), samples=500)
    assert mixture.share("en") == pytest.approx(mixture.share("fr"), abs=1e-3)
    assert mixture.share("sw") == pytest.approx(mixture.share("fr") / 2, abs=1e-3)


def test_a_cap_that_nobody_reaches_changes_nothing() -> None:
    capless = mixture_of(data({"en": 10_000, "sw": 100}, "temperature", None))
    assert mixture_of(data({"en": 10_000, "sw": 100}, "temperature", 1000.0), 5000).share("sw") == capless.share("sw")


def test_too_little_text_is_said_with_the_numbers() -> None:
    with pytest.raises(
        ConfigError, match=r"the text is 110 samples, so at most 440 may be read, .* reads 1,600; .* 15 rep"
    ):
        Plan(data({"en": 100, "sw": 10}), 16, 100)


def test_unimax_needs_its_cap() -> None:
    with pytest.raises(ValueError, match="needs max_repeats"):
        data({"en": 100}, "unimax", None)
