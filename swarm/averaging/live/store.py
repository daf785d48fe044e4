"""Encoded spans by digest: in memory while a round needs them, on disk after it, so that memory stays bounded.

Every frame was checked before it came here. A file is named by its digest and checked again when it is read, so half a
file, left by a crash, is no file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from swarm.averaging.codec import Frame
from swarm.averaging.live.complaint import Complaint
from swarm.digest import content_digest


class Store:
    """folder: where frames go that no open round needs; None keeps them in memory (tests, tiny vectors).

    Used from the network's loop, `get` and `spill` also from other threads.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.complaint = Complaint(f"the history of means in {folder}")
        self.memory: dict[bytes, Frame] = {}
        self.disk: set[bytes] = set()
        self.pins: Counter[bytes] = Counter()  # needed here although the round has let go of them
        self.released: set[bytes] = set()  # let go of while pinned
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.disk = {bytes.fromhex(path.name) for path in folder.iterdir() if len(path.name) == 64}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self.memory or digest in self.disk

    def put(self, digest: bytes, frame: Frame) -> None:
        self.released.discard(digest)
        if digest not in self.disk:
            self.memory.setdefault(digest, frame)

    def get(self, digest: bytes) -> Frame | None:
        """The frame, or None where it is not (or no longer) here."""
        frame = self.memory.get(digest)
        if frame is not None or digest not in self.disk or self.folder is None:
            return frame
        try:
            data = (self.folder / digest.hex()).read_bytes()
        except FileNotFoundError:
            return None
        return data if content_digest(data) == digest else None

    def pin(self, digests: Iterable[bytes]) -> None:
        self.pins.update(digests)

    def unpin(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self.pins[digest] -= 1
            if self.pins[digest] <= 0:
                del self.pins[digest]
                if digest in self.released:
                    self.release((digest,))

    def release(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            if digest in self.pins:
                self.released.add(digest)
                continue
            self.released.discard(digest)
            self.memory.pop(digest, None)
            if digest in self.disk and self.folder is not None:
                self.disk.discard(digest)
                (self.folder / digest.hex()).unlink(missing_ok=True)

    def spill(self, digests: Iterable[bytes]) -> list[bytes]:
        """Write these to disk, in any thread; then, in the loop, call `spilled` with those that are there."""
        written: list[bytes] = []
        if self.folder is None:
            return written
        for digest in digests:
            frame = self.memory.get(digest)
            if frame is None:
                continue
            if digest in self.disk:
                written.append(digest)
                continue
            place = self.folder / digest.hex()
            making = place.with_suffix(".making")
            try:
                with making.open("wb") as file:
                    file.write(frame)
                os.replace(making, place)
            except OSError as error:  # a full disk: they stay in memory, and a later round tries again
                self.complaint.failed(error)
                with suppress(OSError):
                    making.unlink(missing_ok=True)
                return written
            written.append(digest)
        if written:
            self.complaint.succeeded()
        return written

    def spilled(self, digests: Iterable[bytes]) -> None:
        """These are on disk now, unless they were released meanwhile."""
        for digest in digests:
            if self.memory.pop(digest, None) is not None:
                self.disk.add(digest)
            elif self.folder is not None and digest not in self.disk:
                (self.folder / digest.hex()).unlink(missing_ok=True)

    def keep(self, digests: Iterable[bytes]) -> None:
        """Write these to disk now, and go on holding them in memory too. In the loop, which waits for it."""
        self.disk.update(self.spill(digests))

    def keep_only(self, digests: Collection[bytes]) -> None:
        """Remove from disk what an earlier process has left and nobody will ask for."""
        if self.folder is not None:
            for path in self.folder.glob("*.making"):
                path.unlink(missing_ok=True)
        self.release([digest for digest in self.disk if digest not in digests])

    @property
    def memory_bytes(self) -> int:
        return sum(len(frame) for frame in list(self.memory.values()))
