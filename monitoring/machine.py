"""What this process costs its machine: memory, processor time, disk. Read at most every few seconds, then remembered.

Walking the process tree reads all of /proc, which a scrape every second should not pay for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

REFRESH_SECONDS = 5.0


@dataclass(frozen=True)
class Reading:
    """memory_bytes: resident, this process and its children (the libp2p daemon) but for passing ones, which have a
    lower priority than it: the trial of a compiler is no growth of a peer. cpu_seconds: user and system, of all."""

    memory_bytes: float
    cpu_seconds: float
    disk_free_bytes: float | None


class Machine:
    """`folder`: where checkpoints go, for the free space there. `clock`: monotonic seconds."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self._last: tuple[float, Reading] | None = None

    def read(self) -> Reading:
        now = self.clock()
        if self._last is None or now - self._last[0] >= REFRESH_SECONDS:
            self._last = now, self._measure()
        return self._last[1]

    def _measure(self) -> Reading:
        memory = cpu = 0.0
        own = psutil.Process()
        niceness = own.nice()
        for process in [own, *own.children(recursive=True)]:
            try:
                times = process.cpu_times()
                memory += process.memory_info().rss if process.nice() <= niceness else 0
                cpu += times.user + times.system
            except psutil.NoSuchProcess:
                continue  # a child that ended just now
        return Reading(memory, cpu, self._disk_free())

    def _disk_free(self) -> float | None:
        if self.folder is None or not self.folder.exists():
            return None
        return float(psutil.disk_usage(str(self.folder)).free)
