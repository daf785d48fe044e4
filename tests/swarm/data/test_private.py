"""Private text: read in an order that only this peer knows, all of it, and a cursor without a word of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from swarm.data.batches import Batches
from swarm.data.private import PrivateBatches, private_batches
from swarm.data.tokenizer import load as load_tokenizer
from swarm.errors import DataError
from tests.peers.whole_swarm import LENGTH, Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = tmp_path / "my-letters"
    text.mkdir()
    for code, words in (("en", "Dear Ann, the garden is wet."), ("xx", "Unknown tongue.")):
        rows = "".join(json.dumps({"text": f"{words} {number}"}) + "\n" for number in range(30))
        (text / f"{code}.jsonl").write_text(rows, encoding="utf-8")
    return text


def opened(run: Run, folder: Path, said: list[str] | None = None) -> PrivateBatches:
    return private_batches(
        run.signed.manifest.data,
        load_tokenizer(run.tokenizer),
        LENGTH,
        folder=folder,
        cache=folder.parent / "private",
        progress=(said if said is not None else []).append,
    )


def test_only_the_runs_languages_are_read_and_all_of_that_text(run: Run, folder: Path) -> None:
    said: list[str] = []
    batches = opened(run, folder, said)
    assert any("left out" in line and "xx" in line for line in said)
    size = batches._store.stock["en"].sequences
    seen: Counter[int] = Counter()
    for step in range(size):
        batches.begin(step, ("others", "and", "me"))
        seen.update(ref.index for ref in batches.next(1).refs)
    assert seen == Counter(range(size)), "each sample once before any comes again"


def test_the_same_step_again_is_the_same_text_and_the_next_one_goes_on(run: Run, folder: Path) -> None:
    batches = opened(run, folder)
    batches.begin(4, ("a",))
    first = batches.next(3).input_ids
    batches.begin(4, ("a", "b"))
    assert np.array_equal(batches.next(3).input_ids, first)
    batches.begin(5, ("a",))
    assert not np.array_equal(batches.next(3).input_ids, first)


def test_two_peers_with_the_same_text_read_it_in_orders_of_their_own(run: Run, folder: Path) -> None:
    one, other = opened(run, folder), opened(run, folder)
    for batches in (one, other):
        batches.begin(0, ())
    assert not np.array_equal(one.next(12).input_ids, other.next(12).input_ids)


def test_a_cursor_goes_on_and_holds_no_text(run: Run, folder: Path) -> None:
    batches = opened(run, folder)
    batches.begin(0, ())
    batches.next(5)
    batches.begin(1, ())
    batches.next(2)
    cursor = json.loads(json.dumps(batches.cursor()))
    assert set(cursor["private"]) == {"seed", "drawn", "step", "start"}
    again = opened(run, folder)
    again.restore(cursor)
    assert np.array_equal(again.next(4).input_ids, batches.next(4).input_ids)
    for strange in ({}, None, {"private": {"seed": -1}}, {"private": {**cursor["private"], "drawn": "7"}}, {"step": 3}):
        opened(run, folder).restore(strange)


def test_a_folder_that_trained_on_private_text_can_train_on_the_runs_and_the_other_way_round(
    run: Run, folder: Path
) -> None:
    private, public = opened(run, folder), run.batches("me")
    for batches in (private, public):
        batches.begin(0, ())
        batches.next(2)
    theirs = run.batches("me")
    theirs.restore(private.cursor())
    assert isinstance(theirs, Batches)
    opened(run, folder).restore(public.cursor())


def test_text_in_no_language_of_the_run_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "xx.jsonl").write_text(json.dumps({"text": "Unknown tongue."}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="has text in xx, the run trains en, fr"):
        opened(run, tmp_path)
