"""UniMax and the cap on repeats, against the paper's own algorithm and against what a run would really read."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.data.mixture import BLOCK, capped, mixture_of, worn_out
from swarm.data.plan import Plan
from swarm.errors import ConfigError
from swarm.run.schema import DataSpec, LanguageStock, SourceSpec


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


@pytest.mark.parametrize("sampling", ["temperature", "unimax"])
def test_nor_where_the_swarm_reads_more_than_the_manifest_says(sampling: str) -> None:
    """Three peers of unequal speed, one of them always new, read two and a half batches a step, in many lanes."""
    sizes = {"en": 5000, "fr": 800, "wo": 20}
    batch, steps, roster = 16, 500, ("a", "b")
    shares = {"a": 24, "b": 8, "newcomer": 8}
    plan = Plan(data(sizes, sampling), batch, steps)
    read: Counter[str] = Counter()
    first_without: dict[str, int] = {}
    for step in range(steps):
        worn = plan.worn(sum(read.values()))
        for code in worn:
            first_without.setdefault(code, step)
        for peer, samples in shares.items():
            for slot in islice(plan.slots_of(roster, peer, step, worn), samples):
                ref = plan.sample(step, slot)
                assert ref is not None
                read[ref.language] += 1
    assert sum(read.values()) == 2.5 * batch * steps
    slack = 2.5 * batch + 2  # the step in which it happens
    for code, size in sizes.items():
        assert 4 * size - 2 * slack <= read[code] + (4 * size if code == "en" else 0), (code, read)
        assert read[code] <= 4 * size + slack, (code, read)
    assert {"fr", "wo"} == set(first_without)
    assert 0.3 * steps < first_without["wo"] < 0.5 * steps, "at two and a half times the speed"


def test_languages_wear_out_one_after_another_and_at_last_none() -> None:
    shares = {"en": Fraction(1, 2), "fr": Fraction(1, 4), "wo": Fraction(1, 4)}
    caps = {"en": Fraction(100), "fr": Fraction(60), "wo": Fraction(10)}
    assert worn_out(shares, caps, 39) == set()
    assert worn_out(shares, caps, 40) == {"wo"}
    assert worn_out(shares, caps, 40 + 120 - 1) == {"wo"}  # then two of three are English: 80 more
    assert worn_out(shares, caps, 40 + 120) == {"wo", "en"}
    assert worn_out(shares, caps, 169) == {"wo", "en"}
    assert worn_out(shares, caps, 170) == set(), "all the text is worn out: it is read again, evenly"


def test_reading_never_ends_though_all_that_a_step_has_is_worn_out() -> None:
    plan = Plan(data({"en": 5000, "fr": 800}), 4, 500)
    assert len(list(islice(plan.slots_of(("a",), "a", 3, frozenset({"en", "fr"})), 100))) == 100


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
