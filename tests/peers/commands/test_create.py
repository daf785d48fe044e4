"""`bloomswarm create` as its user meets it: a signed run, or one line, an exit code, and nothing on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from swarm.data.sources import languages
from swarm.data.stock import take_stock
from swarm.data.tokenizer import load
from swarm.run.manifest import SignedManifest
from swarm.trust.identity import Identity
from tests.peers.commands.test_cli import assert_one_line, here, run

CONFIG = """
name = "mine"
[model]
vocab_size = 400
hidden_size = 16
layers = 1
heads = 2
sequence_length = 16
[[data.sources]]
kind = "starter"
[training]
steps = 20
global_batch = 4
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(CONFIG)
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_is_made_and_signed_and_everyone_counts_the_same_stock(config: Path, tmp_path: Path) -> None:
    place = tmp_path / "new" / "run"
    made = run("create", str(config), "--dir", str(place), "--json")
    assert made.returncode == 0, made.stderr
    assert made.stderr == "", "progress is for terminals"
    assert left(place) == ["manifest.json", "owner.pem", "tokenizer.json"]
    assert left(place.parent) == ["run"]
    assert (place / "owner.pem").stat().st_mode & 0o077 == 0
    signed = SignedManifest.from_json((place / "manifest.json").read_bytes())
    told = json.loads(made.stdout)
    assert (told["digest"], told["owner"]) == (signed.digest, Identity.load(place / "owner.pem").peer_id)
    manifest = signed.manifest
    tokenizer = load(place).check(digest=manifest.tokenizer.digest, vocab_size=400)
    assert sorted(told["bytes_per_token"]) == sorted(manifest.data.stock) == list(languages(manifest.data, None))
    assert all(1 < rate < 8 for rate in told["bytes_per_token"].values())
    assert take_stock(manifest.data, tokenizer, 16, root=None, cache=tmp_path / "cache") == manifest.data.stock


def test_a_run_on_a_folder_of_text_names_no_path_of_this_machine(config: Path, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for code in ("en", "sw"):
        (tmp_path / "text" / f"{code}.txt").write_text(f"{code} some plain text\n" * 200)
    made = run("create", str(config), "--dir", "run", "--data", "text", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    written = (tmp_path / "run" / "manifest.json").read_text()
    assert str(tmp_path) not in written
    assert sorted(SignedManifest.from_json(written.encode()).manifest.data.stock) == ["en", "sw"]
    rates = next(line for line in made.stdout.splitlines() if line.startswith("  en "))
    assert " sw " in rates


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def giant(folder: Path) -> None:
    with (folder / "en.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # sparse: read whole, it would end the machine


def circle(folder: Path) -> None:
    (folder / "en.jsonl").symlink_to("en.jsonl")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: folder.rmdir(), "there is no "),
    "an empty folder": (lambda folder: None, "holds no text; put <language>.jsonl"),
    "a file": (lambda folder: (folder.rmdir(), folder.write_bytes(b"x")), "a file, not a folder"),
    "a FIFO": (lambda folder: (folder.rmdir(), os.mkfifo(folder)), "Not a directory"),
    "a FIFO inside": (lambda folder: os.mkfifo(folder / "en.jsonl"), "en.jsonl: not a regular file"),
    "a folder inside": (lambda folder: (folder / "en.jsonl").mkdir(), "en.jsonl: a folder, not a file"),
    "a circle of links": (circle, "symbolic links"),
    "empty": (write("en.jsonl", b""), "no text in en"),
    "not UTF-8": (write("en.jsonl", b'{"text": "fine"}\n{"text": "caf\xe9"}\n'), "en.jsonl:2: not UTF-8 (byte 14 is"),
    "UTF-16": (write("en.txt", "plain text".encode("utf-16-le")), "en.txt:1: holds a NUL character"),
    "no column": (write("en.jsonl", b'{"body": "x"}\n'), 'en.jsonl:1: no column "text" (it has: body)'),
    "half a pair": (write("en.jsonl", b'{"text": "a\\ud800"}\n'), "surrogate"),
    "no Parquet": (write("en.parquet", b"PAR1 and then nothing"), "not readable as Parquet"),
    "one giant line": (giant, "en.jsonl:1: a line of more than 16 MiB"),
    "too little": (write("en.jsonl", b'{"text": "one"}\n'), "fewer than one sequence of 16"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_text_that_cannot_be_used_is_one_line_and_leaves_nothing(name: str, config: Path, tmp_path: Path) -> None:
    prepare, words = BAD[name]
    (tmp_path / "text").mkdir()
    prepare(tmp_path / "text")
    line = assert_one_line(here("create", str(config), "--dir", "new/run", "--data", "text", cwd=tmp_path), 4)
    assert words in line
    assert set(left(tmp_path)) <= {"mine.toml", "text"}


def test_only_some_of_the_languages(tmp_path: Path) -> None:
    source = 'kind = "folder"\npath = "text"\nlanguages = ["en", "sw", "yo"]'
    (tmp_path / "mine.toml").write_text(CONFIG.replace('kind = "starter"', source))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "en.txt").write_text("hello\n" * 99)
    line = assert_one_line(here("create", "mine.toml", "--dir", "run", cwd=tmp_path), 4)
    assert "no text in sw, yo (it has: en)" in line
    assert left(tmp_path) == ["mine.toml", "text"]


def test_a_giant_line_takes_little_memory(config: Path, tmp_path: Path) -> None:
    """Peak memory of a `create` that meets a line of 1 TB, against one that meets an empty file."""
    measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True); "
    measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"

    def peak_kib(prepare: Callable[[Path], object], name: str) -> int:
        (tmp_path / name).mkdir()
        prepare(tmp_path / name)
        command = [sys.executable, "-P", "-m", "peers", "create", str(config), "--dir", "run", "--data", name]
        outer = [sys.executable, "-c", measure, *command]
        return int(subprocess.run(outer, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)

    extra = peak_kib(giant, "giant") - peak_kib(write("en.jsonl", b""), "empty")
    assert extra < 100 * 1024, f"{extra} KiB more than for an empty file"


CHANGES = {  # what is put in place of `[training]`, the exit code, and what is said
    "codec": ('[averaging]\ncodec = "int9-block@1"\n[training]', 9, "int9-block@1, this version has int8-block@1"),
    "aggregator": ('[averaging]\naggregator = "mean@1"\n[training]', 9, "mean@1, this version has weighted-mean@1"),
    "algorithm": ('[averaging]\nalgorithm = "gossip"\n[training]', 9, "averages by gossip, this version by"),
    "tokenizer": ('[tokenizer]\nsource = "no/such/file"\n[training]', 4, "tokenizer no/such/file: "),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_this_version_cannot_do_is_said_before_any_text_is_read(name: str, config: Path, tmp_path: Path) -> None:
    change, code, words = CHANGES[name]
    config.write_text(CONFIG.replace("[training]", change))
    assert words in assert_one_line(here("create", str(config), "--dir", "run", cwd=tmp_path), code)
    assert left(tmp_path) == ["mine.toml"]


def test_a_folder_that_cannot_be_written(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    line = assert_one_line(here("create", str(config), "--dir", "file/run", cwd=tmp_path), 10)
    assert f"file exists {tmp_path / 'file'}: check that the path" in line
    assert left(tmp_path) == ["file", "mine.toml"]


def test_two_at_once_for_one_folder_make_one_whole_run(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "peers", "create", str(config), "--dir", "run"]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    errors = [one.communicate(timeout=100)[1].decode() for one in both]
    assert 0 in [one.returncode for one in both], errors
    assert left(tmp_path) == ["mine.toml", "run"]
    owner = Identity.load(tmp_path / "run" / "owner.pem").peer_id
    assert SignedManifest.from_json((tmp_path / "run" / "manifest.json").read_bytes()).manifest.owner == owner


@pytest.mark.corpus
@pytest.mark.slow
def test_every_language_of_the_corpus_is_treated_alike(corpus: Path, tmp_path: Path) -> None:
    made = run("create", "tiny", "--dir", str(tmp_path / "run"), "--data", str(corpus), "--json")
    assert made.returncode == 0, made.stderr
    rates = json.loads(made.stdout)["bytes_per_token"]
    assert len(rates) == 21
    assert min(rates.values()) > 2, rates
    manifest = SignedManifest.from_json((tmp_path / "run" / "manifest.json").read_bytes()).manifest
    assert sum(held.text_bytes for held in manifest.data.stock.values()) == 33_275_708
