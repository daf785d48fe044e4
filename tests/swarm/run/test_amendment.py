"""The chain of amendments: what may change, who may change it, and from which step; anything else is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.errors import ConfigError
from swarm.run.amendment import MOST, Amendment, amend, check, read_chain, version_at, with_changes
from swarm.run.manifest import LanguageStock, Manifest, RunConfig, parse_config, resolve
from swarm.state.shared import SharedState
from swarm.trust.identity import Identity
from swarm.update.rule import ScheduledRule, rule_of

OWNER = Identity.generate()
STOCK = LanguageStock(documents=1, text_bytes=1000, tokens=320, sequences=10, digest="0" * 64)


def config(languages: tuple[str, ...] = ("en",), **changes: Any) -> RunConfig:
    value: dict[str, Any] = {
        "name": "amended",
        "model": {"vocab_size": 300, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "starter", "languages": list(languages)}]},
        "training": {"steps": 40, "global_batch": 8},
        "optimizer": {"warmup_steps": 2},
    }
    for path, new in changes.items():
        section, _, name = path.partition("__")
        value[section] = {**value.get(section, {}), name: new} if name else new
    return parse_config(value, "the test")


@pytest.fixture(scope="module")
def first() -> Manifest:
    return resolve(
        config(),
        owner=OWNER.peer_id,
        created="2026-01-31",
        tokenizer_digest="1" * 64,
        initial_digest="2" * 64,
        stock={"en": STOCK},
    )


def changed(first: Manifest, languages: tuple[str, ...] = ("en",), **changes: Any) -> Manifest:
    return with_changes(first, config(languages, **changes), dict.fromkeys(languages, STOCK))


def test_text_mixture_length_and_batch_may_change_and_each_counts_from_its_step(first: Manifest) -> None:
    one = amend(first, (), changed(first, ("en", "sw"), training__global_batch=16), 10, OWNER)
    longer = with_changes(one.manifest, config(("en", "sw"), training__steps=80), dict.fromkeys(("en", "sw"), STOCK))
    two = amend(first, (one,), longer, 20, OWNER)
    chain = read_chain([one.to_bytes(), two.to_bytes()], first, "the test")
    assert chain == (one, two)
    batches = [version_at(first, chain, step).training.global_batch for step in (0, 9, 10, 19, 20, 99)]
    assert batches == [8, 8, 16, 16, 8, 8]
    assert version_at(first, chain, 20).training.steps == 80
    assert set(version_at(first, chain, 10).data.stock) == {"en", "sw"}
    assert {each.run for each in chain} == {first.digest}, "the identity stays that of the first manifest"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimizer__learning_rate": 0.5}, "optimizer.learning_rate"),
        ({"training__mode": "local"}, "training.mode"),
        ({"model__layers": 2}, "model.layers"),
        ({"averaging__weight_cap": 0.9}, "averaging.weight_cap"),
        ({"name": "another"}, "name"),
        ({"join__private_share": 0.9}, "join.private_share"),
    ],
)
def test_everything_else_is_refused_by_its_name(first: Manifest, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        changed(first, **changes)


def forged(made: Amendment, owner: Identity = OWNER, **changes: Any) -> Amendment:
    """Signed, but not made by `amend`."""
    value = made.model_copy(update=changes)
    return value.model_copy(update={"signature": owner.sign(value.signed_bytes()).hex()})


def test_no_chain_but_the_owners_is_believed(first: Manifest) -> None:
    one = amend(first, (), changed(first, ("en", "sw")), 10, OWNER)
    fewer = first.model_copy(update={"training": first.training.model_copy(update={"global_batch": 16})})
    other = first.model_copy(update={"optimizer": first.optimizer.model_copy(update={"learning_rate": 0.5})})
    second = {"number": 2, "before": one.digest}
    for chain, words in [
        ((forged(one, Identity.generate()),), "not signed by the run's owner"),
        ((one.model_copy(update={"at_step": 11}),), "not signed by the run's owner"),
        ((forged(one, run="0" * 64),), "does not follow"),
        ((forged(one, number=2),), "does not follow"),
        ((forged(one, before="0" * 64),), "does not follow"),
        ((one, one), "does not follow"),
        ((one, forged(one, **second)), "counts from step 10"),
        ((one, forged(one, **second, at_step=30, manifest=fewer)), "takes sw away"),
        ((forged(one, manifest=other),), "changes what may not change"),
        ((forged(one, at_step=40),), "ends the run at step 40"),
    ]:
        with pytest.raises(ConfigError, match=words):
            check(first, chain, "the test")


def test_malformed_bytes_are_one_line(first: Manifest) -> None:
    one = amend(first, (), changed(first), 10, OWNER)
    good = json.loads(one.to_bytes())
    for data in (
        b"",
        b"{}",
        b"[]",
        b"\xff",
        json.dumps(good | {"more": 1}).encode(),
        one.to_bytes()[:-1],
        b"9" * 10**4,
    ):
        with pytest.raises(ConfigError) as refused:
            read_chain([data], first, "the test")
        assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="at most"):
        read_chain([one.to_bytes()] * (MOST + 1), first, "the test")
    with pytest.raises(ConfigError, match="is the most"):
        read_chain([b" " * (1 << 21)], first, "the test")


def test_the_shared_update_follows_the_version_of_its_step(first: Manifest) -> None:
    """As one state whose rule was made by each version for its steps, bit for bit."""
    longer = changed(first, training__steps=400)
    scheduled, by_hand = (SharedState.initial(first, np.ones(size(first), np.float32)) for _ in range(2))
    decayed = scheduled.layout.decayed
    scheduled.rule = ScheduledRule([(0, rule_of(first, decayed)), (3, rule_of(longer, decayed))])
    mean = np.random.default_rng(0).standard_normal(scheduled.layout.size).astype(np.float32)
    for step in range(6):
        by_hand.rule = rule_of(longer if step >= 3 else first, decayed)
        for state in (scheduled, by_hand):
            apply(state, step, mean)
    assert scheduled.digest() == by_hand.digest()
    never = SharedState.initial(first, np.ones(size(first), np.float32))
    for step in range(6):
        apply(never, step, mean)
    assert never.digest() != by_hand.digest(), "the schedules do differ there"


def size(manifest: Manifest) -> int:
    from swarm.model.layout import Layout

    return Layout.of(manifest.model).size


def apply(state: SharedState, step: int, mean: np.ndarray) -> None:
    from swarm.averaging.averager import Averaged, Member
    from swarm.averaging.mean import FloatMean

    state.apply(Averaged(step, FloatMean(mean, 1024), (Member("a", 8, 8.0),)))


def test_a_folder_keeps_them_and_a_second_history_is_not_taken(first: Manifest, tmp_path: Path) -> None:
    from peers.owner.amendments import Amendments

    told: list[int] = []
    known = Amendments(tmp_path, first, lambda amendment: told.append(amendment.number))
    one = amend(first, (), changed(first, ("en", "sw")), 10, OWNER)
    other = amend(first, (), changed(first, training__global_batch=32), 12, OWNER)
    two = amend(first, (other,), changed(first, training__global_batch=64), 14, OWNER)
    known.keep(one)
    assert known.read() == 1
    assert told == [1]
    assert not known._take((other, two), keep=True), "the owner has signed two: the first one that was heard stays"
    assert Amendments(tmp_path, first).chain == (one,)
    (tmp_path / "amendments" / "0002.json").write_bytes(b"{")
    assert Amendments(tmp_path, first).read() == 0, "half a chain is none; the swarm is asked"
