"""Who reads what: samples are distinct where promised, nothing is starved, and every machine computes the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.data.coverage import Coverage
from swarm.data.mixture import BLOCK, apportion, mixture_of, weight_of
from swarm.data.permutation import Permutation
from swarm.data.plan import Plan
from swarm.errors import CheckpointError, ConfigError
from swarm.run.schema import DataSpec, LanguageStock, SourceSpec


def data(sequences: dict[str, int], temperature: float = 0.7, seed: int = 0, **weights: float) -> DataSpec:
    stock = {
        code: LanguageStock(documents=1, text_bytes=n * 100, tokens=n * 32, sequences=n, digest="0" * 64)
        for code, n in sequences.items()
    }
    sources = tuple(
        SourceSpec(kind="jsonl", path=f"{code}.jsonl", language=code, weight=weights.get(code, 1.0))
        for code in sequences
    )
    return DataSpec(sources=sources, temperature=temperature, stock=stock, seed=seed)


@given(size=st.integers(1, 2000), key=st.text(max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_permutation_hits_every_number_once(size: int, key: str) -> None:
    permutation = Permutation(key, size)
    assert sorted(permutation[i] for i in range(size)) == list(range(size))


def test_permutations_of_other_keys_differ_and_are_mixed() -> None:
    one, other = (list(map(Permutation(key, 1000).__getitem__, range(1000))) for key in ("a", "b"))
    assert sum(x == y for x, y in zip(one, other)) < 20
    assert sum(abs(x - y) == 1 for x, y in pairwise(one)) < 20
    with pytest.raises(IndexError):
        Permutation("a", 10)[10]


def test_shares_follow_bytes_to_the_temperature_and_weight() -> None:
    mixture = mixture_of(data({"en": 10_000, "sw": 100}, temperature=0.5))
    assert abs(mixture.share("en") / mixture.share("sw") - 10) < Fraction(1, 50)
    weighted = mixture_of(data({"en": 10_000, "sw": 100}, temperature=0.5, sw=2.0))
    assert abs(weighted.share("en") / weighted.share("sw") - 5) < Fraction(1, 50)


def test_every_stretch_of_draws_holds_the_mixture() -> None:
    mixture = mixture_of(data({f"l{chr(97 + i)}": 10 * 2**i for i in range(12)}))
    seen: Counter[str] = Counter()
    for number in range(3000):
        language, ordinal = mixture.draw(number)
        assert ordinal == seen[language], "ordinals count each language's draws without a gap"
        seen[language] += 1
        for code in mixture.languages:
            assert abs(seen[code] - (number + 1) * mixture.share(code)) < 2


def test_draws_continue_over_the_end_of_a_block() -> None:
    mixture = mixture_of(data({"en": 50, "fr": 7, "wo": 1}))
    before = Counter(mixture.draw(number)[0] for number in range(BLOCK))
    for number in range(BLOCK, BLOCK + 50):
        language, ordinal = mixture.draw(number)
        assert ordinal == before[language]
        before[language] += 1


def test_a_tiny_language_is_never_starved() -> None:
    places = apportion({"en": Fraction(10**12), "wo": Fraction(1)}, 100)
    assert places == {"en": 99, "wo": 1}


def test_two_weights_for_one_language_are_refused() -> None:
    folder = SourceSpec(kind="folder", path="a", languages=("en", "fr"), weight=2.0)
    single = SourceSpec(kind="jsonl", path="en.jsonl", language="en")
    spec = DataSpec(sources=(folder, single))
    assert weight_of(spec, "fr") == 2.0
    with pytest.raises(ConfigError, match=r"en has weights 1.0 and 2.0"):
        weight_of(spec, "en")


@pytest.mark.parametrize("sizes", [{"en": 997, "sw": 61, "wo": 5}, {"en": 64}, {"wo": 1, "xh": 2}])
@pytest.mark.parametrize("peers", [1, 3, 7])
def test_members_of_one_roster_never_share_a_sample_in_a_pass(sizes: dict[str, int], peers: int) -> None:
    plan = Plan(data(sizes), global_batch=16)
    roster = tuple(f"peer{i}" for i in range(peers))
    speeds = [1 + 2 * (i == 0) + i % 3 for i in range(peers)]
    read: Counter[object] = Counter()
    slots_read = 0
    for step in range(60):
        for peer, speed in zip(roster, speeds):
            share = max(1, min(plan.reserved // peers // 2, 16 * speed // sum(speeds) + step % 3))
            for slot in islice(plan.slots_of(roster, peer, step), share):
                if slot < plan.reserved:
                    read[plan.sample(step, slot)] += 1
                    slots_read += 1
    assert slots_read > 500
    assert None not in read
    assert max(read.values()) == 1


@pytest.mark.parametrize("sequences", [1, 5, 8, 61, 1000])
def test_equal_members_read_everything_once_before_anything_twice(sequences: int) -> None:
    """Unused slots cost nothing: lane 0 is sampling without replacement, cycle after cycle."""
    plan = Plan(data({"en": sequences}), global_batch=10)
    drawn = [plan.sample(draw // 10, draw % 10) for draw in range(3 * sequences)]
    for cycle in range(3):
        part = drawn[cycle * sequences : (cycle + 1) * sequences]
        assert sorted(ref.index for ref in part if ref) == list(range(sequences))
        assert {ref.cycle for ref in part if ref} == {cycle}
    if sequences > 8:
        assert [r.index for r in drawn[:sequences] if r] != [r.index for r in drawn[sequences : 2 * sequences] if r]


def test_all_filled_slots_of_a_pass_are_all_samples_once() -> None:
    plan = Plan(data({"en": 100}), global_batch=1)  # with one draw a step, steps 0 to 12 are pass 0: 13 rows
    refs = [ref for step in range(13) for slot in range(plan.slots) if (ref := plan.sample(step, slot))]
    assert {ref.pass_number for ref in refs} == {0}
    assert sorted(ref.index for ref in refs) == list(range(100))


def test_newcomers_keep_out_of_the_roster_and_apart_from_each_other() -> None:
    plan = Plan(data({"en": 5000}), global_batch=64)
    roster = ("a", "b")
    members = {slot for peer in roster for slot in islice(plan.slots_of(roster, peer, 3), 100)}
    first, second = (set(islice(plan.slots_of(roster, peer, 3), 8)) for peer in ("x", "y"))
    assert not members & (first | second)
    assert len(first | second) > 8
    assert set(islice(plan.slots_of(roster, "x", 4), 8)) != first
    assert len(set(islice(plan.slots_of((), "x", 0), plan.slots))) == plan.slots


def test_a_peer_that_outruns_its_slots_still_gets_text() -> None:
    plan = Plan(data({"wo": 3}), global_batch=2)
    for peer in ("a", "stranger"):
        slots = list(islice(plan.slots_of(("a", "b", "c"), peer, 5), 100))
        assert all(plan.sample(5, slot) is not None for slot in slots)


def plan_digest() -> str:
    plan = Plan(data({"en": 997, "sw": 61, "ta": 300}, seed=7), 16)
    text = repr([plan.sample(step, slot) for step in range(40) for slot in range(plan.slots)])
    text += repr([list(islice(plan.slots_of(("a", "b"), peer, 9), 70)) for peer in "abc"])
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_plan_is_the_same_on_every_machine(hash_seed: str) -> None:
    """A fixed digest: if it changes, peers of two versions read different samples. It holds in other processes."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "4d6f6a685cd3f25619d44d88aa65bc0805feb551ca3493536794c0ef6c72031e"


def test_other_seeds_read_in_another_order() -> None:
    one, other = (Plan(data({"en": 997}, seed=seed), 16) for seed in (1, 2))
    assert [one.sample(0, i) for i in range(16)] != [other.sample(0, i) for i in range(16)]


def test_coverage_counts_distinct_samples_and_overlap() -> None:
    plan = Plan(data({"en": 100, "sw": 20}), global_batch=8)
    coverage = Coverage(plan)
    for step in range(15):
        coverage.add(step, range(8))
    assert coverage.overlap == 0
    assert sum(coverage.reads.values()) == 120
    assert coverage.fraction("en") == min(1, coverage.reads["en"] / 100)
    coverage.add(15, plan.reads(("a", "b"), "a", 15, 4))
    coverage.add(15, plan.reads(("b", "a"), "b", 15, 4))  # b still believes in another roster
    assert coverage.overlap == 4


def test_coverage_survives_a_round_trip_and_refuses_damage() -> None:
    plan = Plan(data({"en": 100, "sw": 21}), global_batch=8)
    coverage, again = Coverage(plan), Coverage(plan)
    for step in range(5):
        coverage.add(step, range(8))
    saved = coverage.to_dict()
    again.restore(saved)
    assert again.to_dict() == saved
    assert again.distinct == coverage.distinct
    other = Coverage(Plan(data({"en": 1000, "sw": 21}), global_batch=8)).to_dict()
    for damaged in (
        None,
        [],
        {},
        {**saved, "overlap": -1},
        {**saved, "seen": other["seen"]},
        {**saved, "slots": [999]},
    ):
        with pytest.raises(CheckpointError, match="data cursor"):
            again.restore(damaged)
    assert again.to_dict() == saved


if __name__ == "__main__":
    print(plan_digest())
