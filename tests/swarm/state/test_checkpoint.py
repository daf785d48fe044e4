"""Checkpoints: complete or absent, and every way to be damaged is one line that says which file and what to do."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from swarm.durable import UNFINISHED, unfinished
from swarm.errors import CheckpointError, IncompatibleError, ResourceError
from swarm.run.manifest import PROTOCOL
from swarm.state.checkpoint import latest, load, save, saved
from swarm.state.shared import SharedState
from swarm.state.state_file import state_from_bytes, state_to_bytes
from tests.peers.whole_swarm import Run
from tests.small_disk import small_disk

STATE = "state.safetensors"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


def state_at(run: Run, step: int) -> SharedState:
    state = run.state()
    for vector in state.vectors:
        vector += np.random.default_rng(step).random(vector.size, dtype=np.float32)
    state.step, state.samples = step, 24 * step
    return state


def keep(run: Run, folder: Path, step: int, **options: Any) -> Path:
    cursor = {"step": step, "roster": ["a"]}
    return save(folder, state_at(run, step), manifest=run.signed, tokenizer=run.tokenizer, cursor=cursor, **options)


def test_everything_comes_back_and_the_same_state_is_the_same_file(run: Run, tmp_path: Path) -> None:
    path = keep(run, tmp_path, 7, extra={"roster": ["a", "b"]}, log_head="ab" * 32)
    assert path.name == "step-00000007"
    loaded = load(path, run.signed.digest)
    assert loaded.state.digest() == state_at(run, 7).digest()
    assert (loaded.state.step, loaded.state.samples) == (7, 168)
    assert loaded.manifest.digest == run.signed.digest
    assert loaded.tokenizer == run.tokenizer
    assert (loaded.cursor, loaded.extra, loaded.log_head) == (
        {"step": 7, "roster": ["a"]}, {"roster": ["a", "b"]}, "ab" * 32
    )  # fmt: skip
    other = keep(run, tmp_path / "other", 7)
    assert (path / STATE).read_bytes() == (other / STATE).read_bytes() == state_to_bytes(loaded.state)


def test_any_safetensors_reader_opens_the_state(run: Run, tmp_path: Path) -> None:
    path = keep(run, tmp_path, 1)
    state, tensors = state_at(run, 1), load_file(path / STATE)
    assert len(tensors) == 3 * len(state.layout.tensors)
    for name, vector in zip(state.names, state.vectors, strict=True):
        for tensor, view in state.layout.views(vector):
            assert np.array_equal(tensors[f"{name}/{tensor.name}"], view)


def test_the_last_ones_are_kept_and_a_step_written_again_replaces_itself(run: Run, tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        keep(run, tmp_path, step, keep=2)
    keep(run, tmp_path, 5, keep=2, extra={"again": True})
    assert [path.name for path in saved(tmp_path)] == ["step-00000005", "step-00000004"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]
    newest = latest(tmp_path)
    assert newest is not None
    assert load(newest).extra == {"again": True}


def cut(to: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * to))


def swapped(path: Path) -> None:
    """One bit of one value, which stays finite."""
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def tensors_changed(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "bloomswarm-state-1", "step": "3", "samples": "72"})

    return apply


def filled(kind: str, value: float) -> Callable[[Path], None]:
    """Values written in place, so that nothing but them is wrong."""

    def apply(path: Path) -> None:
        (length,) = struct.unpack("<Q", path.read_bytes()[:8])
        header = json.loads(path.read_bytes()[8 : 8 + length])
        start = next(entry["data_offsets"][0] for name, entry in header.items() if name.startswith(kind))
        with path.open("r+b") as file:
            file.seek(8 + length + start)
            file.write(struct.pack("<f", value))

    return apply


BIAS = "parameters/transformer.ln_f.bias"
DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    (STATE, cut(0.5), "truncated"),
    (STATE, cut(0.001), "does not fit"),
    (STATE, cut(0), "truncated"),
    (STATE, Path.unlink, "cannot be read"),
    (STATE, swapped, "not the state that checkpoint.json describes"),
    (STATE, lambda path: path.write_bytes(b"\xff" * 1000), "damaged"),
    (STATE, lambda path: path.write_bytes(struct.pack("<Q", 4) + b"[[[["), "not JSON"),
    (STATE, lambda path: path.write_bytes(struct.pack("<Q", 4) + b"[  ]"), "not a table"),
    (STATE, tensors_changed(lambda t: t.pop(BIAS)), f"{BIAS} is missing"),
    (STATE, tensors_changed(lambda t: t.update(more=np.zeros(3, np.float32))), "'more' is not part of the model"),
    (STATE, tensors_changed(lambda t: t.update({BIAS: np.zeros(17, np.float32)})), "has shape"),
    (STATE, tensors_changed(lambda t: t.update({BIAS: np.zeros(16, np.float64)})), "has dtype"),
    (STATE, filled("parameters", np.nan), "holds nan"),
    (STATE, filled("first_moment", np.inf), "holds inf"),
    (STATE, filled("second_moment", -1.0), "holds -1"),
    ("checkpoint.json", cut(0.5), "checkpoint.json"),
    ("checkpoint.json", Path.unlink, "cannot be read"),
    ("checkpoint.json", lambda path: path.write_bytes(path.read_bytes().replace(b'"step":3', b'"step":4')), "altered"),
    ("checkpoint.json", lambda path: path.write_bytes(b"{" * 100_000), "checkpoint.json"),
    ("manifest.json", cut(0.9), "manifest.json"),
    ("manifest.json", lambda path: path.write_bytes(path.read_bytes().replace(b'"whole"', b'"other"')), "signature"),
    ("tokenizer.json", cut(0.9), "not the manifest's tokenizer"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGE, ids=[f"{d[0]}-{d[2][:24]}" for d in DAMAGE])
def test_damage_is_one_line_that_names_the_place(
    run: Run, tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    path = keep(run, tmp_path, 3)
    damage(path / name)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_one_of_another_run_and_files_of_two_runs(run: Run, tmp_path: Path) -> None:
    other = Run.make(run.cache, codec="float16@1")
    mine, theirs = keep(run, tmp_path / "mine", 3), keep(other, tmp_path / "theirs", 3)
    with pytest.raises(CheckpointError, match="use a checkpoint of this run"):
        load(theirs, run.signed.digest)
    shutil.copy(theirs / "manifest.json", mine / "manifest.json")
    with pytest.raises(CheckpointError, match="the files are of two runs"):
        load(mine)


def test_one_from_before_contents_were_known_by_blake3_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    """Its digests are of another kind: "not the state that it describes" would accuse the disk."""
    path = keep(run, tmp_path, 3)
    manifest = path / "manifest.json"
    signed = json.loads(manifest.read_text())
    assert signed["manifest"]["protocol"] == PROTOCOL
    signed["manifest"]["protocol"] = 1
    manifest.write_text(json.dumps(signed))
    record = path / "checkpoint.json"
    record.write_text(record.read_text().replace("bloomswarm-checkpoint-2", "bloomswarm-checkpoint-1"))
    with pytest.raises(IncompatibleError, match=f"speaks protocol 1, this is {PROTOCOL}; install the version"):
        load(path)


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(CheckpointError, match="not a checkpoint folder"):
            load(path)
    assert latest(tmp_path / "absent") is None


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_a_state_that_was_received_is_checked_like_a_file(run: Run, count: int) -> None:
    data = state_to_bytes(state_at(run, 2))
    assert state_from_bytes(run.signed.manifest, data).digest() == state_at(run, 2).digest()
    for bad in (data[:count], data[:-1], data + b"\0"):
        with pytest.raises(CheckpointError):
            state_from_bytes(run.signed.manifest, bad)


@pytest.fixture
def tight(run: Run, tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one checkpoint and a half."""
    size = sum(path.stat().st_size for path in keep(run, tmp_path / "measured", 1).iterdir())
    with small_disk(tmp_path / "disk", size * 3 // 2) as disk:
        yield disk


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_half_written(run: Run, tight: Path) -> None:
    first = keep(run, tight, 1)
    with pytest.raises(ResourceError, match=r"step-00000002 could not be written: the disk is full.*free some space"):
        keep(run, tight, 2)
    assert [path.name for path in tight.iterdir()] == ["step-00000001"]
    assert load(first).state.step == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_disk_that_fails_at_any_moment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, at: int
) -> None:
    """Until the rename (seven syncs) the old one stands alone; the failure of the last sync is told too."""
    keep(run, tmp_path, 1)
    calls, sync = iter(range(1, 100)), os.fsync

    def failing(descriptor: int) -> None:
        if next(calls) == at:
            raise OSError(code, os.strerror(code))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    if at > 7:
        keep(run, tmp_path, 2)
    else:
        with pytest.raises(ResourceError, match="step-00000002 could not be written"):
            keep(run, tmp_path, 2)
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))
    for path in saved(tmp_path):
        assert load(path).state.step == int(path.name[-1])
    assert ("step-00000002" in [path.name for path in saved(tmp_path)]) == (at >= 7)


WRITER = """
import sys
from pathlib import Path
from swarm.durable import unfinished
with unfinished(Path(sys.argv[1]), "step-00000009") as making:
    (making / "half").write_bytes(b"x")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_living_writer_is_left_alone_and_a_dead_ones_remains_are_removed(run: Run, tmp_path: Path) -> None:
    keep(run, tmp_path, 1)
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdin is not None
    assert writer.stdout.readline() == b"writing\n"
    keep(run, tmp_path, 2)
    assert latest(tmp_path) == tmp_path / "step-00000002"
    assert [(path / "half").read_bytes() for path in tmp_path.glob(f"{UNFINISHED}*")] == [b"x"]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdin.close()
    writer.stdout.close()
    assert len(list(tmp_path.glob(f"{UNFINISHED}*"))) == 1
    assert latest(tmp_path) == tmp_path / "step-00000002"
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with unfinished(tmp_path, "x") as making:
            (making / "half").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())
