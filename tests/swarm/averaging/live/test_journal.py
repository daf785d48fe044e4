"""What a peer keeps of rounds on disk, the log of commits and the means: whole, or as much of it as the disk takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.averaging.live.complaint import CALM
from swarm.averaging.live.journal import Journal
from swarm.averaging.live.store import Store
from swarm.averaging.round.log import Entry
from swarm.digest import content_digest
from tests.small_disk import small_disk
from tests.swarm.averaging.round.table import running


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few kilobytes."""
    with small_disk(tmp_path / "little", 24 << 10) as folder:
        yield folder


def test_a_log_that_is_replayed_cuts_nothing_off_and_another_lineage_does(tmp_path: Path) -> None:
    table = running(rounds=6)
    log = table.machines[table.names[0]].core.log
    whole = list(log.chain)
    journal = Journal(tmp_path / "log")
    journal.follow(log)
    for count in range(2, len(whole) + 1):
        log.chain = whole[:count]
        journal.follow(log)
        assert len(Journal(tmp_path / "log").heads) == len(whole) - 1, "killed here, it would find all again"
    before, entry = whole[2], whole[3]
    assert entry.commit is not None
    outcome = entry.commit.outcome
    other = replace(outcome, ballot=outcome.ballot._replace(number=outcome.ballot.number + 1))
    position = replace(entry.position, head=other.head)
    log.chain = [*whole[:3], Entry(position, replace(entry.commit, outcome=other))]
    journal.follow(log)
    assert journal.heads == [whole[1].position.head, before.position.head, other.head]
    journal.close()


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


def test_means_that_a_full_disk_refuses_are_complained_of_once_until_they_are_written_again(
    little_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(little_disk / "means")

    def spill(number: int) -> bytes:
        frame = bytes([number]) * 2048
        digest = content_digest(frame)
        store.put(digest, frame)
        store.spilled(store.spill([digest]))
        return digest

    (little_disk / "ballast").write_bytes(bytes(12 << 10))
    with caplog.at_level(logging.WARNING):
        held = [spill(number) for number in range(20)]
        assert 0 < len(store.disk) < len(held), "some fitted"
        (said,) = [record.getMessage() for record in caplog.records]
        full = "cannot be written: No space left on device; rounds go on without it"
        assert said == f"the history of means in {store.folder} {full}"
        assert not list((little_disk / "means").glob("*.making")), "nothing half is left"
        assert all(store.get(digest) is not None for digest in held), "what is not on disk stays in memory"
        (little_disk / "ballast").unlink()
        for number in range(CALM):
            store.release([spill(100 + number)])
    assert [record.getMessage() for record in caplog.records][1:] == [
        f"the history of means in {store.folder} is written again"
    ]
