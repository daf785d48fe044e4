"""Reading the text of a run that is amended on the way: each step from the version of the run that counts for it.

A version's text is opened when it is first needed, or before (`prepare`), so that a switch does not stop training.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from swarm.data.batches import Batch
from swarm.data.coverage import Coverage


class VersionedBatches:
    """As `Batches`. version_of(step): which one counts, 0 is the first. opened(version): its `Batches`; DataError."""

    def __init__(self, version_of: Callable[[int], int], opened: Callable[[int], Any]) -> None:
        self._version_of, self._open = version_of, opened
        self._versions: dict[int, Any] = {}
        self._lock = threading.Lock()  # held while a version's text is opened
        self._now = version_of(0)

    def prepare(self, version: int) -> Any:
        """Open a version's text, from any thread. DataError, each time again, where it cannot be had."""
        with self._lock:
            if version not in self._versions:
                self._versions[version] = self._open(version)
            return self._versions[version]

    def begin(self, step: int, roster: tuple[str, ...], read: int = 0) -> None:
        """read: counts in the first version only. Nobody knows how much of it was of which text of a later one's."""
        self._now = self._version_of(step)
        self.prepare(self._now).begin(step, roster, read if self._now == 0 else 0)

    def next(self, samples: int) -> Batch:
        batch: Batch = self.prepare(self._now).next(samples)
        return batch

    @property
    def coverage(self) -> Coverage | None:
        """Of the version that is read now."""
        found: Coverage | None = self.prepare(self._now).coverage
        return found

    def cursor(self) -> dict[str, Any]:
        return {"version": self._now, "cursor": self.prepare(self._now).cursor()}

    def restore(self, value: Any) -> None:
        """Go on where `cursor` was taken. A cursor without a version is the first one's. CheckpointError: damaged."""
        version, cursor = 0, value
        if isinstance(value, dict) and set(value) == {"version", "cursor"}:
            version, cursor = value["version"], value["cursor"]
        if version not in (self._version_of(2**53), *range(self._version_of(2**53))):
            return  # of a version that is not known here: its text is begun anew
        self._now = version
        self.prepare(version).restore(cursor)
