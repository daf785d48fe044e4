"""Bytes sent and received, by purpose: counted where they are handed to the daemon, never computed from sizes."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal

Direction = Literal["sent", "received"]


class Traffic:
    """Counters by (direction, purpose). Purposes are our own few words (a handler's, "dht"), so they stay bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: Counter[tuple[Direction, str]] = Counter()

    def add(self, direction: Direction, purpose: str, size_bytes: int) -> None:
        with self._lock:
            self._bytes[direction, purpose] += size_bytes

    def snapshot(self) -> dict[tuple[Direction, str], int]:
        """Totals since the start, as (direction, purpose) -> bytes."""
        with self._lock:
            return dict(self._bytes)

    def total(self, direction: Direction, purpose: str | None = None) -> int:
        """Bytes in one direction, of one purpose or of all."""
        return sum(
            size for (way, what), size in self.snapshot().items() if way == direction and purpose in (None, what)
        )
