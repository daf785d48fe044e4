"""The log of commits on disk, whole: what a newcomer follows from genesis, served page by page.

    length (4 bytes, big-endian) | a Commit as it travels       one after another, in log order

The core keeps the last few hundred rounds in memory. Nothing here is trusted when it is read again: commits are checked
by the core like those of any peer, and a tail cut off by a crash is dropped. A full disk stops no round: what the file
lacks is written as soon as there is room.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from swarm.averaging.live.complaint import Complaint
from swarm.averaging.round.log import Log
from swarm.averaging.round.messages import MAX_BYTES, Commit, MessageError, seal
from swarm.averaging.round.reading import parse

LENGTH = struct.Struct(">I")
PAGE_COMMITS = 64
PAGE_BYTES = 1 << 20


class Journal:
    """path: None keeps nothing. `heads` are those of the commits in the file, in order."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.heads: list[bytes] = []
        self.places: dict[bytes, int] = {}  # head -> its index
        self.ends = [0]  # where each commit ends in the file
        self.file: BinaryIO | None = None
        self.complaint = Complaint(f"the log of rounds in {path}")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("a+b", buffering=0)  # nothing that a full disk refused may wait in a buffer
            self._scan()

    def _scan(self) -> None:
        assert self.file is not None
        self.file.seek(0)
        for commit, size in read_all(self.file):
            self._note(commit.outcome.head, size)
        self.file.truncate(self.ends[-1])

    def follow(self, log: Log) -> None:
        """Make the file hold what `log` holds: append new commits, and first cut off those of a lineage it has left.

        What is here beyond the tip stays: a process may die while it replays, or lack the bytes of the last round.
        """
        try:
            self._follow(log)
        except OSError as error:
            self.complaint.failed(error)
        else:
            self.complaint.succeeded()

    def _follow(self, log: Log) -> None:
        if self.file is None or len(log.chain) == 1 or (self.heads and self.heads[-1] == log.tip.head):
            return
        start = len(log.chain) - 1
        while start > 0 and log.chain[start].position.head not in self.places:
            start -= 1
        if log.tip.head in self.places:
            return  # a log that is being replayed: what follows in the file is its own
        common = log.chain[start].position.head
        if common in self.places:
            self._cut(self.places[common] + 1)
        elif start == 0:
            first = log.chain[1].commit
            if first is None or not self._precedes(first):
                self._cut(0)
        for entry in log.chain[start + 1 :]:
            assert entry.commit is not None
            self._append(entry.commit)

    def _precedes(self, commit: Commit) -> bool:
        return bool(self.heads) and self.heads[-1] == commit.outcome.base

    def _cut(self, count: int) -> None:
        assert self.file is not None
        for head in self.heads[count:]:
            del self.places[head]
        del self.heads[count:]
        del self.ends[count + 1 :]
        self.file.truncate(self.ends[-1])

    def _append(self, commit: Commit) -> None:
        assert self.file is not None
        data = seal(commit, _nothing).wire
        rest = memoryview(LENGTH.pack(len(data)) + data)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError:
            self.file.truncate(self.ends[-1])
            raise
        self._note(commit.outcome.head, LENGTH.size + len(data))

    def _note(self, head: bytes, size: int) -> None:
        self.places[head] = len(self.heads)
        self.heads.append(head)
        self.ends.append(self.ends[-1] + size)

    def page(self, heads: tuple[bytes, ...], tip: int) -> list[bytes]:
        """Wire bytes of the commits after the newest of `heads` that is here; from the start where none is."""
        known = [self.places[head] for head in heads if head in self.places]
        size = 0
        result: list[bytes] = []
        for index in range(max(known) + 1 if known else 0, len(self.heads)):
            if self.file is None or len(result) == PAGE_COMMITS or size > PAGE_BYTES:
                break
            result.append(seal(replace(self._commit(index), tip=tip), _nothing).wire)
            size += len(result[-1])
        return result

    def commits_after(self, head: bytes) -> list[Commit]:
        """All commits after `head`, or all there are."""
        return self.commits(self.places.get(head, -1) + 1)

    def commits(self, start: int) -> list[Commit]:
        """All from this index on."""
        return [self._commit(index) for index in range(max(0, start), len(self.heads))]

    def _commit(self, index: int) -> Commit:
        assert self.file is not None
        self.file.seek(self.ends[index] + LENGTH.size)
        message = parse(self.file.read(self.ends[index + 1] - self.ends[index] - LENGTH.size)).message
        assert isinstance(message, Commit)
        return message

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def read_all(file: BinaryIO) -> Iterator[tuple[Commit, int]]:
    """Commits, with the bytes each takes, from here to the first that is damaged or does not follow."""
    before: bytes | None = None
    while len(head := file.read(LENGTH.size)) == LENGTH.size:
        (size,) = LENGTH.unpack(head)
        data = file.read(size) if size <= MAX_BYTES else b""
        try:
            message = parse(data).message if len(data) == size else None
        except MessageError:
            return
        if not isinstance(message, Commit) or before not in (None, message.outcome.base):
            return
        before = message.outcome.head
        yield message, LENGTH.size + size


def _nothing(data: bytes) -> bytes:
    return b""
