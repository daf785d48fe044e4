"""The log of commits on disk: whole, or as much of it as the disk takes."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.averaging.live.journal import Journal
from tests.swarm.averaging.round.table import running


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few kilobytes."""
    folder = tmp_path / "little"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "little", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs to mount a small file system, which this user may not")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_nothing_and_the_rest_is_written_when_there_is_room(
    little_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = running(rounds=12)
    log = table.machines[table.names[0]].core.log
    whole, chain = list(log.chain), log.chain
    (little_disk / "ballast").write_bytes(bytes(12 << 10))
    journal = Journal(little_disk / "log")
    with caplog.at_level(logging.WARNING):
        for count in range(2, len(whole) + 1):
            log.chain = whole[:count]
            journal.follow(log)
    assert 0 < len(journal.heads) < len(whole) - 1, "some fitted"
    assert len(caplog.records) == 1, "said once"
    assert "No space left on device" in caplog.text
    assert (little_disk / "log").stat().st_size == journal.ends[-1], "nothing half"
    assert len(Journal(little_disk / "log").heads) == len(journal.heads), "what is there can be read"
    (little_disk / "ballast").unlink()
    log.chain = chain
    journal.follow(log)
    assert journal.heads == [entry.position.head for entry in whole[1:]]
    assert [commit.outcome.round for commit in journal.commits(0)] == list(range(1, len(whole)))
    journal.close()
    assert Journal(little_disk / "log").heads == journal.heads
