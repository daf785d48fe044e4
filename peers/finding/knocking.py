"""Peers knock at their run's doors while no seed is heard of.

A seed that comes back does not find the swarm by itself where it had met nobody before it died, or runs on a copy of
its folder; and peers that have each other are not lonely and look for nobody. Newcomers would then begin the run anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from swarm.errors import NetworkError

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

KNOCK_SECONDS = 60.0  # without a seed's record, before the doors are dialled, and between two times


class Knocking:
    """Used from one thread; dialling, which may take long, has its own."""

    def __init__(self, network: Network, seconds: float = KNOCK_SECONDS) -> None:
        self.network, self.seconds = network, seconds
        self.since = time.monotonic()
        self.thread: threading.Thread | None = None

    def look(self, heard: Mapping[str, ProgressRecord]) -> None:
        """After each reading of the records. Returns at once."""
        now = time.monotonic()
        if any(record.role == "seed" for record in heard.values()):
            self.since = now
        elif now - self.since > self.seconds and (self.thread is None or not self.thread.is_alive()):
            self.since = now
            self.thread = threading.Thread(target=self._knock, name="knocking", daemon=True)
            self.thread.start()

    def _knock(self) -> None:
        with suppress(NetworkError):
            self.network.meet(self.network.initial_peers)
