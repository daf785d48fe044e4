"""A peer's samples: in plan order, recomputable by anyone, continued after a restart, counted honestly."""

from __future__ import annotations

import json
import threading
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.data.batches import Batches, make_batch
from swarm.data.plan import Plan
from swarm.data.store import TokenStore, open_store
from swarm.data.tokenizer import Tokenizer, load, train
from swarm.errors import CheckpointError
from swarm.run.schema import DataSpec, SourceSpec

ROSTER = ("a", "b", "c")


@cache
def tokenizer() -> Tokenizer:
    return load(train({"en": ["one two three"]}, 270))


@pytest.fixture
def made(tmp_path: Path) -> tuple[TokenStore, Plan]:
    for code, count in (("en", 400), ("sw", 60)):
        rows = [json.dumps({"text": f"{code} text number {number}"}) for number in range(count)]
        (tmp_path / f"{code}.jsonl").write_text("\n".join(rows))
    data = DataSpec(sources=(SourceSpec(kind="folder", path="."),))
    store = open_store(data, tokenizer(), 8, root=tmp_path, cache=tmp_path / "cache")
    return store, Plan(data.model_copy(update={"stock": store.stock}), global_batch=12)


def test_a_batch_is_what_the_plan_says_with_its_text_bytes(made: tuple[TokenStore, Plan]) -> None:
    store, plan = made
    mine = Batches(store, plan, "b")
    mine.begin(4, ROSTER)
    batch = mine.next(3)
    assert list(batch.slots) == plan.reads(ROSTER, "b", 4, 3)
    for row, ref in enumerate(batch.refs):
        assert (batch.input_ids[row] == store.sequence(ref.language, ref.index)).all()
        predicted = [token for token in batch.input_ids[row, 1:].tolist() if token != tokenizer().end_id]
        assert batch.text_bytes[row] == sum(int(tokenizer().token_bytes[token]) for token in predicted)
    assert sum(batch.tokens_by_language.values()) == 3 * 8
    assert batch.labels is not batch.input_ids


def test_what_a_step_goes_on_to_read_is_read_ahead(
    made: tuple[TokenStore, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a thread, as many batches as the step before took and no more; the samples are those of the plan."""
    store, plan = made
    readers: list[bool] = []

    def sequence(language: str, index: int, read: Any = store.sequence) -> np.ndarray:
        readers.append(threading.current_thread() is threading.main_thread())
        return read(language, index)

    monkeypatch.setattr(store, "sequence", sequence)
    mine = Batches(store, plan, "b")
    for step, here in ((3, 4), (4, 1)):
        mine.begin(step, ROSTER)
        read = [mine.next(2) for _ in range(4)]
        assert [slot for batch in read for slot in batch.slots] == plan.reads(ROSTER, "b", step, 8)
        assert len(readers) == 8, "a batch is read that the step does not take"
        assert sum(readers) == 2 * here
        readers.clear()


def test_who_reads_ahead_may_ask_for_less_and_go_on_later(made: tuple[TokenStore, Plan]) -> None:
    """Memory runs out, so the next micro-batch is smaller; a cursor is of what was asked for, not of what was read."""
    store, plan = made
    mine = Batches(store, plan, "b")
    mine.begin(1, ROSTER)
    for _ in range(3):
        mine.next(4)
    mine.begin(2, ROSTER)
    read = [*mine.next(4).slots, *mine.next(1).slots]
    again = Batches(store, plan, "b")
    again.restore(json.loads(json.dumps(mine.cursor())))
    rest = [*mine.next(2).slots, *mine.next(2).slots]
    assert read + rest == plan.reads(ROSTER, "b", 2, 9)
    assert list(again.next(4).slots) == rest
    assert sum(mine.coverage.reads.values()) == 12 + 9


def test_a_restart_leaves_out_what_was_worn_out_before_the_step(made: tuple[TokenStore, Plan]) -> None:
    store, _ = made
    data = DataSpec(sources=(SourceSpec(kind="folder", path="."),), stock=store.stock, max_repeats=2.0)
    plan = Plan(data, 12, steps=15)
    read = next(samples for samples in range(0, 10**6, 10) if plan.worn(samples))
    worn = plan.worn(read)
    step = next(
        s for s in range(100) if plan.reads(ROSTER, "b", s, 16) != [*islice(plan.slots_of(ROSTER, "b", s, worn), 16)]
    )
    mine = Batches(store, plan, "b")
    mine.begin(step, ROSTER, read)
    mine.next(4)
    again = Batches(store, plan, "b")
    again.restore(json.loads(json.dumps(mine.cursor())))
    rest = mine.next(12)
    assert again.next(12).slots == rest.slots
    assert worn.isdisjoint(rest.tokens_by_language)
    older = mine.cursor()
    del older["read"]
    again.restore(older)
    assert again.cursor()["read"] == 0, "a checkpoint of an older version does not say"


def test_anyone_recomputes_a_contribution_from_step_and_slots(made: tuple[TokenStore, Plan]) -> None:
    store, plan = made
    mine = Batches(store, plan, "c")
    mine.begin(7, ROSTER)
    read = [mine.next(2), mine.next(3)]
    again = make_batch(store, plan, 7, tuple(plan.reads(ROSTER, "c", 7, 5)))
    assert (again.input_ids == np.concatenate([batch.input_ids for batch in read])).all()
    assert again.refs == read[0].refs + read[1].refs


def test_members_of_a_roster_share_nothing_and_the_swarm_reads_each_sample_once(
    made: tuple[TokenStore, Plan],
) -> None:
    store, plan = made
    peers = [Batches(store, plan, name) for name in ROSTER]
    for step in range(5):
        refs = []
        for peer in peers:
            peer.begin(step, ROSTER)
            refs += peer.next(4).refs
        assert len(set(refs)) == 12
    assert all(peer.coverage.overlap == 0 for peer in peers)
    assert sum(peer.coverage.reads["en"] for peer in peers) == sum(peer.coverage.distinct["en"] for peer in peers)


@pytest.mark.parametrize("stop", [0, 1, 5, 6])
def test_a_restart_continues_where_the_cursor_was_taken(stop: int, made: tuple[TokenStore, Plan]) -> None:
    """Mid-step too: with it or without it, the same samples, and the same coverage to the last bit."""
    store, plan = made

    def turns(peer: Batches, numbers: range) -> list[Any]:
        read = []
        for number in numbers:
            if number % 3 == 0:
                peer.begin(number // 3, ROSTER)
            read.append(peer.next(2).refs)
        return read

    whole, first, second = (Batches(store, plan, "a") for _ in range(3))
    expected = turns(whole, range(12))
    read = turns(first, range(stop))
    second.restore(json.loads(json.dumps(first.cursor())))
    assert read + turns(second, range(stop, 12)) == expected
    assert second.cursor() == whole.cursor()


def test_a_step_begun_again_reads_the_same_and_is_no_overlap(made: tuple[TokenStore, Plan]) -> None:
    store, plan = made
    mine = Batches(store, plan, "a")
    mine.begin(3, ROSTER)
    first = mine.next(4)
    mine.begin(3, ROSTER)
    assert mine.next(4).refs == first.refs
    assert mine.coverage.overlap == 0
    assert sum(mine.coverage.reads.values()) == 4
    mine.begin(3, ("b", "a", "c"))  # another roster: what was read before may be read again, and is counted
    mine.next(4)
    assert sum(mine.coverage.reads.values()) == 8


def test_a_damaged_cursor_is_refused_and_changes_nothing(made: tuple[TokenStore, Plan]) -> None:
    store, plan = made
    mine = Batches(store, plan, "a")
    mine.begin(1, ROSTER)
    mine.next(2)
    good = mine.cursor()
    for damaged in (
        None, [], {}, good | {"drawn": -1}, good | {"drawn": 10**9, "counted": 10**9}, good | {"step": "1"},
        good | {"roster": "abc"}, good | {"roster": [1]}, good | {"counted": 1}, good | {"coverage": {}},
        good | {"step": True}, good | {"read": -1}, good | {"read": "5"},
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match="data cursor"):
            mine.restore(damaged)
    assert mine.cursor() == good
