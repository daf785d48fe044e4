"""The token store: built once, whole or not at all, anew where the text changed, and never trusted blindly."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.data import store as module
from swarm.data.stock import check_stock, take_stock
from swarm.data.store import INDEX, TokenStore, open_store
from swarm.data.tokenizer import Tokenizer, load, train
from swarm.errors import DataError, ResourceError
from swarm.run.schema import DataSpec, LanguageStock, SourceSpec

ROOT = Path(__file__).parents[3]
LENGTH = 16
DATA = DataSpec(sources=(SourceSpec(kind="folder", path="."),))


@cache
def tokenizer() -> Tokenizer:
    return load(train({"en": ["one two three four five"], "fr": ["un deux trois"]}, 270))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for code in ("en", "fr"):
        rows = [json.dumps({"text": f"{code} {number} " + "word " * (number % 7)}) for number in range(60)]
        (folder / f"{code}.jsonl").write_text("\n".join(rows))
    return folder


def opened(text: Path, said: list[str] | None = None, data: DataSpec = DATA, length: int = LENGTH) -> TokenStore:
    progress = said.append if said is not None else print
    return open_store(data, tokenizer(), length, root=text, cache=text.parent / "cache", progress=progress)


def test_documents_follow_each_other_with_an_end_of_text_between(text: Path) -> None:
    store = opened(text)
    rows = [json.loads(line)["text"] for line in (text / "en.jsonl").read_text().splitlines()]
    stream = [token for row in rows for token in [*tokenizer().encode(row), tokenizer().end_id]]
    held = store.stock["en"]
    assert (held.documents, held.tokens, held.sequences) == (60, len(stream), len(stream) // LENGTH)
    assert held.text_bytes == sum(map(len, rows))
    together = np.concatenate([store.sequence("en", index) for index in range(held.sequences)])
    assert together.tolist() == stream[: held.sequences * LENGTH], "nothing is padded, nothing but the tail is dropped"


def test_it_is_built_once_and_anew_where_the_text_or_the_sources_changed(text: Path) -> None:
    said: list[str] = []
    first = opened(text, said)
    assert said == ["reading en (1 of 2)", "reading fr (2 of 2)"]
    said.clear()
    assert opened(text, said).stock == first.stock
    assert said == []
    with (text / "fr.jsonl").open("a") as file:
        file.write('\n{"text": "encore un"}')
    assert opened(text, said).stock["fr"].documents == 61
    assert said
    fewer = DataSpec(sources=(SourceSpec(kind="folder", path=".", max_documents=50),))
    assert opened(text, data=fewer).stock["en"].documents == 50


def test_an_edited_data_set_folder_is_read_anew(text: Path) -> None:
    pytest.importorskip("datasets")
    (text / "mine").mkdir()
    (text / "en.jsonl").rename(text / "mine" / "train.jsonl")
    data = DataSpec(sources=(SourceSpec(kind="huggingface", path="mine", language="en"),))
    assert opened(text, data=data).stock["en"].documents == 60
    with (text / "mine" / "train.jsonl").open("a") as file:
        file.write('\n{"text": "one more of them"}\n')
    assert opened(text, data=data).stock["en"].documents == 61


BUILD = """
import sys
from pathlib import Path
from tests.swarm.data.test_store import opened
said = []
opened(Path(sys.argv[1]), said)
print(sum(line.startswith("reading") for line in said))
"""


def process(code: str, text: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(text)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_several_processes_at_once_build_it_once(text: Path) -> None:
    running = [process(BUILD, text) for _ in range(4)]
    built = [int(one.communicate(timeout=100)[0]) for one in running]
    assert sorted(built) == [0, 0, 0, 2]
    assert [path.name.split("-")[0] for path in (text.parent / "cache").iterdir() if path.is_dir()] == ["tokens"]


KILLED = BUILD.replace("said = []", "class Stop(list):\n    def append(self, line):\n        print(line, flush=True)\n"
                       "        sys.stdin.read()\nsaid = Stop()")  # fmt: skip


def test_a_killed_builder_leaves_nothing_that_is_taken_for_a_store(text: Path) -> None:
    builder = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(text)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert builder.stdout is not None
    assert builder.stdout.readline() == "reading en (1 of 2)\n"
    builder.send_signal(signal.SIGKILL)
    builder.communicate(timeout=60)
    cache_folder = text.parent / "cache"
    assert any(path.name.startswith(".tokens-") for path in cache_folder.iterdir()), "it was killed while it wrote"
    assert opened(text).stock["en"].documents == 60
    assert [path.name for path in cache_folder.iterdir() if path.name.startswith(".")] == []


def damage(folder: Path, how: str) -> None:
    index = json.loads((folder / INDEX).read_bytes())
    if how == "truncated tokens":
        os.truncate(folder / "en.tokens", 10)
    elif how == "tokens gone":
        (folder / "en.tokens").unlink()
    elif how == "index cut":
        (folder / INDEX).write_bytes((folder / INDEX).read_bytes()[:-9])
    elif how == "index gone":
        (folder / INDEX).unlink()
    else:
        values: dict[str, Any] = {
            "no languages": index | {"languages": {}},
            "a list": [index],
            "languages a list": index | {"languages": [1]},
            "counts as text": index | {"languages": {c: n | {"tokens": "1"} for c, n in index["languages"].items()}},
            "no digest": index | {"languages": {c: {"tokens": n["tokens"]} for c, n in index["languages"].items()}},
            "another format": index | {"format": 99},
            "another tokenizer": index | {"tokenizer": "0" * 64},
            "a path": index | {"languages": {"../en": next(iter(index["languages"].values()))}},
        }
        (folder / INDEX).write_text(json.dumps(values[how]))


@pytest.mark.parametrize(
    "how",
    ["truncated tokens", "tokens gone", "index cut", "index gone", "no languages", "a list", "languages a list",
     "counts as text", "no digest", "another format", "another tokenizer", "a path"],
)  # fmt: skip
def test_a_damaged_store_is_made_again(how: str, text: Path) -> None:
    first = opened(text)
    stock, last = first.stock, first.stock["en"].sequences - 1
    ids = first.sequence("en", last).copy()
    damage(first.folder, how)
    said: list[str] = []
    again = opened(text, said)
    assert said, "it was read again"
    assert again.stock == stock
    assert (again.sequence("en", last) == ids).all()


def test_an_impossible_token_is_told_and_not_fed_to_the_model(text: Path) -> None:
    store = opened(text)
    with (store.folder / "en.tokens").open("r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(DataError, match=r"en\.tokens is damaged; delete that folder"):
        opened(text).sequence("en", 0)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "another cache")])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    number: int, words: str, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(ResourceError, match=words):
        opened(text)
    assert [path for path in (text.parent / "cache").iterdir() if path.is_dir()] == []


def test_a_cache_that_is_a_file(text: Path) -> None:
    (text.parent / "cache").write_text("x")
    with pytest.raises(ResourceError, match="choose another cache folder"):
        opened(text)


def test_a_language_shorter_than_one_sequence_is_told(text: Path) -> None:
    (text / "fr.jsonl").write_text('{"text": "un"}\n')
    with pytest.raises(DataError, match=r"fr has \d+ tokens in 1 documents, fewer than one sequence of 16; add text"):
        opened(text)


def test_the_stock_of_the_same_text_in_another_format_is_the_same(text: Path, tmp_path: Path) -> None:
    rows = [json.loads(line)["text"].strip() for line in (text / "en.jsonl").read_text().splitlines()]
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "en.txt").write_text("\n\n".join(rows))
    (text / "en.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in rows))
    (text / "fr.jsonl").unlink()
    stocks = [
        take_stock(DATA, tokenizer(), LENGTH, root=root, cache=tmp_path / "cache")
        for root in (text, tmp_path / "plain")
    ]
    assert stocks[0] == stocks[1]


def test_other_text_than_the_run_s_is_named_by_language_and_value() -> None:
    held = LanguageStock(documents=2, text_bytes=100, tokens=40, sequences=2, digest="a" * 64)
    run = {"en": held, "fr": held}
    check_stock(run, dict(run))
    with pytest.raises(DataError, match="no text in fr here, the run has it"):
        check_stock({"en": held}, run)
    with pytest.raises(DataError, match="text in fr here, the run has none"):
        check_stock(run, {"en": held})
    with pytest.raises(DataError, match="the fr text differs from the run's: documents 3 here, 2 there"):
        check_stock({"en": held, "fr": held.model_copy(update={"documents": 3})}, run)
    with pytest.raises(DataError, match="digest bbbbbbbbbbbb here, aaaaaaaaaaaa there"):
        check_stock({"en": held.model_copy(update={"digest": "b" * 64}), "fr": held}, run)
