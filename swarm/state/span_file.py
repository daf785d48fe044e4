"""A state file read and written span by span: what a donor gives from, and what a download fills.

A span's bytes are those that its digest covers: its part of every vector, one after another. Nothing is kept beside the
file about which spans have come: whatever is there is known by its digest, so that a download that was killed, a stale
checkpoint and a damaged one are all looked at in the same way.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from swarm.digest import content_digest_of
from swarm.errors import CheckpointError, ResourceError
from swarm.model.layout import Layout
from swarm.run.schema import RunConfig
from swarm.state.shared import SharedState, root_of
from swarm.state.state_file import header_bytes, read_head
from swarm.update.rule import vector_names

READ_BYTES = 1 << 20
VALUE_BYTES = 4


class SpanFile:
    """Close it after use; as a context manager it closes itself. Used from several threads at once."""

    def __init__(self, config: RunConfig, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.empty = False  # just made: no span has come yet
        layout, names = Layout.of(config.model), vector_names(config)
        self.size, self.vectors, self.span_size = layout.size, len(names), config.averaging.span_size
        self.step, self.samples = read_head(layout, names, file, os.fstat(file.fileno()).st_size, str(path))
        self.values_at = file.tell()

    @classmethod
    def open(cls, config: RunConfig, path: Path) -> SpanFile:
        """An existing file, to read. CheckpointError where it is none of this run's; OSError."""
        return cls._checked(config, path.open("rb"), path)

    @classmethod
    def create(cls, config: RunConfig, path: Path, step: int, samples: int) -> SpanFile:
        """A file to fill: the one that is there already, or a new one, if there is room for all of it.

        ResourceError where there is not enough; nothing is left behind then.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        layout, names = Layout.of(config.model), vector_names(config)
        head = header_bytes(layout, names, step, samples)
        size = len(head) + VALUE_BYTES * len(names) * layout.size
        if path.exists():
            try:
                return cls._checked(config, path.open("r+b"), path)
            except CheckpointError:
                path.unlink()  # of a machine that went down while it was made
        _allocate(path, head, size)
        made = cls._checked(config, path.open("r+b"), path)
        made.empty = True
        return made

    @classmethod
    def _checked(cls, config: RunConfig, file: BinaryIO, path: Path) -> SpanFile:
        try:
            return cls(config, file, path)
        except CheckpointError:
            file.close()
            raise

    @property
    def spans(self) -> int:
        return -(-self.size // self.span_size)

    def span_bytes(self, span: int) -> int:
        """Of all vectors together."""
        return VALUE_BYTES * self.vectors * self._values(span)

    def places(self, span: int, offset: int, length: int) -> list[tuple[int, int]]:
        """Where part of a span's bytes stand: (offset in the file, bytes). IndexError for a span that there is not."""
        if not 0 <= span < self.spans:
            raise IndexError(span)
        found = []
        for place, size in self._places(span):
            part = max(0, min(length, size - offset))
            found += [(place + offset, part)] if part else []
            length, offset = length - part, max(0, offset - size)
        return found

    def read(self, span: int, offset: int, length: int) -> bytearray:
        """Part of a span's bytes; fewer where the span ends. IndexError for a span that there is not."""
        places = self.places(span, offset, length)
        data = bytearray(sum(size for _, size in places))
        rest = memoryview(data)
        for place, size in places:
            if os.preadv(self.file.fileno(), [rest[:size]], place) != size:
                raise IndexError(f"{self.path} has become shorter")
            rest = rest[size:]
        return data

    def write(self, span: int, data: bytes | bytearray | memoryview) -> None:
        """All bytes of a span, which the caller has checked. ResourceError where the disk is full."""
        assert len(data) == self.span_bytes(span), (span, len(data))
        rest = memoryview(data)
        for place, size in self._places(span):
            done = 0
            while done < size:
                try:
                    done += os.pwrite(self.file.fileno(), rest[done:size], place + done)
                except OSError as error:
                    raise _refused(self.path, error, len(data)) from error
            rest = rest[size:]

    def digest(self, span: int) -> bytes:
        """Of the span's bytes as they are in the file."""
        return content_digest_of(
            os.pread(self.file.fileno(), min(READ_BYTES, size - start), place + start)
            for place, size in self._places(span)
            for start in range(0, size, READ_BYTES)
        )

    def digests(self) -> list[bytes]:
        """Of all spans."""
        return [self.digest(span) for span in range(self.spans)]

    def root(self) -> bytes:
        """`SharedState.root` of the state in the file."""
        return root_of(self.step, self.samples, self.digests())

    def load(self, state: SharedState) -> None:
        """Read everything into the vectors of `state`, without a second copy, all of them at once. OSError."""
        with ThreadPoolExecutor(self.vectors) as pool:
            for read in [pool.submit(self._load, vector, index) for index, vector in enumerate(state.vectors)]:
                read.result()
        state.step, state.samples = self.step, self.samples

    def _load(self, vector: np.ndarray, index: int) -> None:
        target, done = vector.data.cast("B"), 0
        place = self.values_at + VALUE_BYTES * index * self.size
        while done < len(target):
            part = target[done : done + READ_BYTES]
            count = os.preadv(self.file.fileno(), [part], place + done)
            if not count:
                raise CheckpointError(f"{self.path}: it ended while it was read; it is fetched again")
            done += count

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> SpanFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _values(self, span: int) -> int:
        return min(self.span_size, self.size - span * self.span_size)

    def _places(self, span: int) -> Iterator[tuple[int, int]]:
        """(offset in the file, bytes) of the span in each vector."""
        for vector in range(self.vectors):
            start = vector * self.size + span * self.span_size
            yield self.values_at + VALUE_BYTES * start, VALUE_BYTES * self._values(span)


def span_of(state: SharedState, span: int) -> bytes:
    """The bytes of a span of a state in memory."""
    place = state.spans()[span]
    return b"".join(vector[place].astype("<f4", copy=False).tobytes() for vector in state.vectors)


def span_memory(state: SharedState, span: int) -> list[memoryview]:
    """Where these bytes are in a state in memory; to be written to on little-endian machines."""
    place = state.spans()[span]
    return [vector[place].data.cast("B") for vector in state.vectors]


def spans_with(digests: Sequence[bytes], found: Sequence[bytes]) -> set[int]:
    """At which places both have the same digest."""
    return {span for span, pair in enumerate(zip(digests, found, strict=True)) if pair[0] == pair[1]}


def _allocate(path: Path, head: bytes, size: int) -> None:
    """Looks whether there is room, and does not take it: measured on ext4, writing into space that `posix_fallocate`
    has taken costs six times the processor's time (0.51 against 0.08 s for 384 MB). Whoever fills the disk meanwhile
    is noticed when a span is written.
    """
    making = path.with_suffix(".making")
    try:
        there = os.statvfs(path.parent)
        if there.f_bavail * there.f_frsize < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with making.open("wb") as file:
            file.write(head)
            file.truncate(size)
        making.rename(path)
    except OSError as error:
        making.unlink(missing_ok=True)
        raise _refused(path, error, size) from error


def _refused(path: Path, error: OSError, size: int) -> ResourceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what, remedy = f"the disk is full: the run's state takes {size / 1e6:.1f} MB", "free some space"
    else:
        what, remedy = error.strerror or str(error), "check the folder and its mode"
    return ResourceError(f"{path} could not be written: {what}; {remedy} and join again")
