"""Folders that are complete on disk or do not exist.

A folder is written under a hidden name beside its place, synced, and renamed. A writer that dies leaves only the hidden
folder. Its writer's lock (`flock`) is then free, also after `kill -9`, so the next writer can tell that it is stale.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished-"


@contextmanager
def unfinished(folder: Path, name: str) -> Iterator[Path]:
    """A new hidden folder, locked while we live; gone at the end unless it was renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    making = folder / f"{UNFINISHED}{name}-{os.getpid()}"
    making.mkdir()
    lock = os.open(making, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield making
    finally:
        shutil.rmtree(making, ignore_errors=True)
        os.close(lock)


@contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, on disk when the block ends."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make names in the folder durable: a rename is only on disk after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a folder. Out of sight first, so that nobody finds half of it."""
    hidden = path.with_name(f"{UNFINISHED}{path.name}-removed")
    shutil.rmtree(hidden, ignore_errors=True)
    path.rename(hidden)
    shutil.rmtree(hidden)


def remove_stale(folder: Path) -> None:
    """Remove what dead writers left in `folder`; living ones are not touched."""
    for path in folder.glob(f"{UNFINISHED}*") if folder.is_dir() else ():
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # its writer lives
        finally:
            os.close(lock)
