"""A process's folder for sockets: removed by the process, or, where that was killed, by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from swarm.network.socket_folder import MAX_PATH, PREFIX, SocketFolder

HOLD = """
from swarm.network.socket_folder import SocketFolder
folder = SocketFolder()
print(folder.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def old(path: Path) -> Path:
    os.utime(path, (1, 1))
    return path


def test_the_folder_of_a_killed_process_is_removed_by_the_next_and_a_living_ones_stays() -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (old(Path(holder.stdout.readline().strip())) for holder in holders if holder.stdout)
    holders[0].kill()
    holders[0].wait()
    assert killed.is_dir()
    mine = SocketFolder()
    assert not killed.exists()
    assert living.is_dir()
    holders[1].communicate("\n")
    mine.remove()
    mine.remove()
    assert not mine.path.exists()


def test_what_is_new_or_is_not_ours_stays(temporary: Path) -> None:
    new = temporary / f"{PREFIX}aaaaaaaa"
    link = temporary / f"{PREFIX}bbbbbbbb"
    other = temporary / f"{PREFIX}some-longer-name"
    new.mkdir()
    other.mkdir()
    target = temporary / "target"
    target.mkdir()
    link.symlink_to(target)
    os.utime(link, (1, 1), follow_symlinks=False)
    old(other)
    SocketFolder().remove()
    assert new.is_dir()
    assert other.is_dir()
    assert target.is_dir()


def test_a_long_tmpdir_is_passed_over(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = temporary / ("d" * MAX_PATH)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    folder = SocketFolder()
    assert folder.path.parent == Path("/tmp")
    folder.remove()
