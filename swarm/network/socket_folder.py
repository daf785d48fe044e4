"""A private folder for a process's unix sockets, which its next of kin removes where the process could not.

A process killed by SIGKILL leaves its folder behind. The lock that it held on it (`flock`) is free then, so whoever
makes the next folder can tell the stale ones and removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "bloomswarm-"
MAX_PATH = 90  # the kernel takes 107 bytes in the path of a unix socket
YOUNG_SECONDS = 60.0  # a folder may be made and not locked yet


class SocketFolder:
    """A new folder (0700) in TMPDIR, or in /tmp where that path is too long, locked while this process lives."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        if len(os.path.join(parent, PREFIX)) + 8 > MAX_PATH:
            parent = "/tmp"
        remove_stale(Path(parent))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock: int | None = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Safe to call twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_stale(parent: Path) -> None:
    """Remove the folders of ours whose process is gone, and leave everybody else's alone."""
    for path in parent.glob(f"{PREFIX}????????"):
        with contextlib.suppress(OSError):  # another process is faster, or it is not ours to open
            found = path.lstat()
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > YOUNG_SECONDS and path.is_dir():
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
