"""Reading text: every layout that is promised, and one clear line for everything that people get wrong."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarm.data import document, formats
from swarm.data.sources import files_of, languages, languages_of, read_documents, read_language
from swarm.data.validation import read_evaluation, read_validation
from swarm.errors import DataError, NetworkError
from swarm.run.schema import DataSpec, SourceSpec


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(source: SourceSpec, root: Path | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in read_documents(source, root):
        found.setdefault(item.language, []).append(item.text)
    return found


FOLDER = SourceSpec(kind="folder", path=".")
JSONL = SourceSpec(kind="jsonl", path="en.jsonl", language="en")


def one_line(action: Callable[[], object], *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for part in parts:
        assert part in message, message


def test_the_starter_corpus_needs_no_path() -> None:
    source = SourceSpec(kind="starter", languages=("sw", "en"))
    assert languages_of(source, None) == ("en", "sw")
    assert sum(len(text.encode()) for text in texts(source, None)["sw"]) > 6000
    validation = read_validation(DataSpec(sources=(source,)), None, limit=3)
    assert {code: len(some) for code, some in validation.items()} == {"en": 3, "sw": 3}
    assert [some.id for some in validation["en"]] == [some.id for some in validation["sw"]]


def test_jsonl_in_file_order_with_ids(tmp_path: Path) -> None:
    jsonl(
        tmp_path / "en.jsonl", {"id": "a", "text": "one"}, {"id": 7, "text": "zwei"}, {"text": "three"}, {"text": " "}
    )
    found = list(read_documents(JSONL, tmp_path))
    assert [(item.id, item.text) for item in found] == [("a", "one"), ("7", "zwei"), ("en.jsonl:3", "three")]
    assert found[1].text_bytes == 4


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "en.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": "two"}')
    (tmp_path / "en.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n\r\nthree\r\n")
    assert texts(JSONL, tmp_path) == {"en": ["one", "two"]}
    source = SourceSpec(kind="text", path="en.txt", language="en")
    assert texts(source, tmp_path) == {"en": ["one\r\ntwo", "three"]}


def test_long_plain_text_without_blank_lines_is_cut_at_line_ends(tmp_path: Path) -> None:
    line = "a" * 1000 + "\n"
    (tmp_path / "en.txt").write_text(line * 200)
    found = texts(SourceSpec(kind="text", path="en.txt", language="en"), tmp_path)["en"]
    assert len(found) == 4
    assert "\n".join(found) + "\n" == line * 200


def test_a_folder_in_every_layout(tmp_path: Path) -> None:
    jsonl(tmp_path / "train" / "en.jsonl", {"text": "hello"})
    (tmp_path / "train" / "pt-BR.txt").write_text("bom dia\n")
    jsonl(tmp_path / "train" / "sw" / "b.jsonl", {"text": "pili"})
    jsonl(tmp_path / "train" / "sw" / "a.jsonl", {"text": "kwanza"})
    (tmp_path / "train" / "README.md").write_text("about")
    (tmp_path / "train" / ".hidden.jsonl").write_text("junk")
    jsonl(tmp_path / "validation" / "en.jsonl", {"text": "held out"})
    everything = {"en": ["hello"], "pt-BR": ["bom dia"], "sw": ["kwanza", "pili"]}
    assert texts(FOLDER, tmp_path) == everything
    assert texts(SourceSpec(kind="folder", path="train"), tmp_path) == everything
    assert texts(SourceSpec(kind="folder", path=".", languages=("sw",)), tmp_path) == {"sw": ["kwanza", "pili"]}
    for path in (".", "train"):
        spec = DataSpec(sources=(SourceSpec(kind="folder", path=path),))
        assert [item.text for item in read_validation(spec, tmp_path)["en"]] == ["held out"]
    single = SourceSpec(kind="jsonl", path="train/en.jsonl", language="en")
    assert list(read_validation(DataSpec(sources=(single,)), tmp_path)) == ["en"]
    assert [item.text for item in read_evaluation(tmp_path)["en"]] == ["held out"]
    assert list(read_evaluation(tmp_path / "train" / "en.jsonl")) == ["en"]


def test_training_text_is_never_taken_for_validation(tmp_path: Path) -> None:
    jsonl(tmp_path / "en.jsonl", {"text": "hello"})
    assert read_validation(DataSpec(sources=(FOLDER,)), tmp_path) == {}


def test_a_file_that_is_trained_on_is_never_validation(tmp_path: Path) -> None:
    """Whoever names validation/en.jsonl as a source has one measure less, and no measure that means nothing."""
    for code in ("en", "fr"):
        jsonl(tmp_path / "train" / f"{code}.jsonl", {"text": "seen"})
        jsonl(tmp_path / "validation" / f"{code}.jsonl", {"text": "held out"})
    trained = SourceSpec(kind="jsonl", path="validation/en.jsonl", language="en")
    spec = DataSpec(sources=(SourceSpec(kind="folder", path="train"), trained))
    assert list(read_validation(spec, tmp_path)) == ["fr"]
    with pytest.raises(ValueError, match="measured and never trained on"):
        SourceSpec(kind="folder", path=".", split="validation")


def test_max_documents_counts_per_language(tmp_path: Path) -> None:
    for code in ("en", "fr"):
        jsonl(tmp_path / f"{code}.jsonl", *({"text": str(i)} for i in range(9)))
    source = SourceSpec(kind="folder", path=".", max_documents=2)
    assert texts(source, tmp_path) == {"en": ["0", "1"], "fr": ["0", "1"]}


def test_a_language_of_several_sources_is_read_in_their_order(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", {"text": "first"})
    jsonl(tmp_path / "more" / "en.jsonl", {"text": "second"})
    sources = (SourceSpec(kind="jsonl", path="b.jsonl", language="en"), SourceSpec(kind="folder", path="more"))
    data = DataSpec(sources=sources)
    assert languages(data, tmp_path) == ("en",)
    assert [item.text for item in read_language(data, tmp_path, "en")] == ["first", "second"]


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = {"body": [f"text {i}" for i in range(600)] + [None, ""], "id": list(range(602))}
    parquet.write_table(pa.table(rows), tmp_path / "en.parquet")
    source = SourceSpec(kind="parquet", path="en.parquet", language="en", column="body")
    assert texts(source, tmp_path) == {"en": rows["body"][:600]}
    wrong = source.model_copy(update={"column": "text"})
    one_line(lambda: texts(wrong, tmp_path), "en.parquet", 'no column "text"', "body, id")
    number = source.model_copy(update={"column": "id"})
    one_line(lambda: texts(number, tmp_path), 'column "id" holds int64')
    (tmp_path / "en.parquet").write_bytes(b"PAR1 and then something else")
    one_line(lambda: texts(source, tmp_path), "en.parquet", "not readable as Parquet")


def hub(path: str, **fields: Any) -> SourceSpec:
    return SourceSpec(kind="huggingface", path=path, language="en", **fields)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")


@pytest.mark.usefixtures("offline")
def test_a_hugging_face_data_set(tmp_path: Path) -> None:
    jsonl(tmp_path / "mine" / "train.jsonl", {"body": "one"}, {"body": "two"}, {"body": None})
    jsonl(tmp_path / "mine" / "test.jsonl", {"body": "held out"})
    assert texts(hub("mine", column="body"), tmp_path) == {"en": ["one", "two"]}
    assert texts(hub("mine", column="body", split="test"), tmp_path) == {"en": ["held out"]}
    assert texts(hub("mine", column="body", max_documents=1), tmp_path) == {"en": ["one"]}
    one_line(lambda: texts(hub("mine"), tmp_path), "data set mine: row 1", 'no column "text"', "body")
    one_line(lambda: texts(hub("mine", column="body", split="dev"), tmp_path), "data set mine", "dev")
    with pytest.raises(NetworkError, match=r"^data set nobody/nothing: .*; check the network, or use text on this"):
        texts(hub("nobody/nothing"), tmp_path)


@pytest.mark.usefixtures("offline")
def test_a_data_set_name_never_reads_a_folder_outside_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load_dataset("letters")` reads ./letters: a stranger's manifest could name a volunteer's own folder."""
    jsonl(tmp_path / "home" / "letters" / "train.jsonl", {"text": "private"})
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    one_line(lambda: texts(hub("letters"), tmp_path / "data"), "home/letters", "instead of the Hub's")


@pytest.mark.parametrize(("source", "package"), [(hub("x"), "datasets"), ("parquet", "pyarrow")])
def test_an_optional_package_that_is_missing_is_named(
    source: SourceSpec | str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *rest)

    (tmp_path / "en.parquet").write_bytes(b"")
    chosen = source if isinstance(source, SourceSpec) else SourceSpec(kind="parquet", path="en.parquet", language="en")
    monkeypatch.setattr(builtins, "__import__", refuse)
    one_line(lambda: texts(chosen, tmp_path), package, "pip install 'bloomswarm[data]'")


BAD_LINES = {
    "not UTF-8": (b'{"text": "fine"}\n{"text": "caf\xe9"}\n', "en.jsonl:2", "0xe9"),
    "not JSON": (b'{"text": "fine"}\n\n{"text": \n', "en.jsonl:3", "not JSON"),
    "a list": (b'["text"]\n', "en.jsonl:1", "a JSON list, not an object"),
    "a number": (b"12\n", "en.jsonl:1", "a JSON number, not an object"),
    "no column": (b'{"body": "x", "id": 1}\n', 'en.jsonl:1: no column "text"', "body, id"),
    "not text": (b'{"text": null}\n', "en.jsonl:1", 'column "text" is a null'),
    "half a pair": (b'{"text": "a\\ud800"}\n', "en.jsonl:1", "surrogate"),
    "deep": (b"[" * 200_000 + b"\n", "en.jsonl:1", "not JSON"),
    "huge number": (b'{"text": ' + b"9" * 5000 + b"}\n", "en.jsonl:1", "not JSON"),
    "a NUL": (b'{"text": "a\\u0000b"}\n', "en.jsonl:1", "holds a NUL character"),
    "empty": (b"", "en.jsonl", "no text in en"),
    "only blanks": (b'\n{"text": "  "}\n\n', "en.jsonl", "no text in en"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_file_is_one_line_with_file_and_line(name: str, tmp_path: Path) -> None:
    content, *parts = BAD_LINES[name]
    (tmp_path / "en.jsonl").write_bytes(content)
    one_line(lambda: texts(JSONL, tmp_path), *parts)
    one_line(lambda: texts(FOLDER, tmp_path), *parts[1:])


def test_a_giant_line_is_refused_and_never_loaded(tmp_path: Path) -> None:
    """A sparse file of 1 TB: reading it whole would end the machine."""
    for name in ("en.jsonl", "en.txt"):
        with (tmp_path / name).open("wb") as file:
            file.write(b'{"text": "fine"}\n')
            file.truncate(1 << 40)
    one_line(lambda: texts(JSONL, tmp_path), "en.jsonl:2: a line of more than 16 MiB")
    source = SourceSpec(kind="text", path="en.txt", language="en")
    one_line(lambda: texts(source, tmp_path), "en.txt:2: a line of more than 16 MiB")


def test_a_giant_document_of_short_escapes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_DOCUMENT_BYTES", 30)
    assert document.MAX_DOCUMENT_BYTES == 16 << 20
    pytest.importorskip("pyarrow")
    one_line(lambda: formats.text_of({"text": "x" * 31}, "text", "here:1"), "here:1: a document of 31 bytes, 30 is")


def test_places_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "en.jsonl").mkdir()
    one_line(lambda: texts(JSONL, tmp_path), "en.jsonl: a folder, not a file")
    one_line(lambda: texts(FOLDER, tmp_path), "en.jsonl: a folder, not a file")
    jsonl(tmp_path / "fr.jsonl", {"text": "oui"})
    one_line(
        lambda: texts(SourceSpec(kind="folder", path="fr.jsonl"), tmp_path), 'a file, not a folder; use kind = "js'
    )
    one_line(lambda: texts(SourceSpec(kind="folder", path="none"), tmp_path), "none", "No such file")
    one_line(lambda: texts(SourceSpec(kind="jsonl", path="no.jsonl", language="en"), tmp_path), "no.jsonl", "No such")
    (tmp_path / "empty").mkdir()
    one_line(lambda: texts(SourceSpec(kind="folder", path="empty"), tmp_path), "empty: holds no text", "en.jsonl")
    (tmp_path / "deep" / "en" / "old").mkdir(parents=True)
    one_line(
        lambda: texts(SourceSpec(kind="folder", path="deep"), tmp_path), "old: a folder inside a language's folder"
    )
    os.mkfifo(tmp_path / "pipe.jsonl")
    pipe = SourceSpec(kind="jsonl", path="pipe.jsonl", language="en")
    one_line(lambda: texts(pipe, tmp_path), "pipe.jsonl: not a regular file")


@pytest.mark.parametrize("name", ["en.jsonl", "en"])
def test_symbolic_links_in_a_circle(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / name)
    one_line(lambda: texts(FOLDER, tmp_path), name, "symbolic links")
    one_line(lambda: texts(SourceSpec(kind="jsonl", path=name, language="en"), tmp_path), name, "symbolic links")


def test_only_some_of_the_languages(tmp_path: Path) -> None:
    jsonl(tmp_path / "en.jsonl", {"text": "hello"})
    source = SourceSpec(kind="folder", path=".", languages=("en", "sw", "yo"))
    one_line(lambda: texts(source, tmp_path), "no text in sw, yo", "it has: en")
    (tmp_path / "fr.jsonl").write_bytes(b"")
    one_line(lambda: texts(FOLDER, tmp_path), "no text in fr")


@pytest.mark.parametrize("path", ["/etc", "../secret", "a/../../b", "~/letters"])
def test_a_manifest_cannot_leave_the_data_folder(path: str, tmp_path: Path) -> None:
    source = SourceSpec(kind="folder", path=path)
    one_line(lambda: texts(source, tmp_path), path, "--data")
    one_line(lambda: files_of(source, tmp_path), path)


@pytest.mark.corpus
def test_the_corpus_is_read_whole(corpus: Path) -> None:
    data = DataSpec(sources=(FOLDER,))
    assert len(languages(data, corpus)) == 21
    assert sum(item.text_bytes for item in read_documents(FOLDER, corpus)) == 33_275_708
    validation = read_validation(data, corpus)
    assert {len(some) for some in validation.values()} == {62}
