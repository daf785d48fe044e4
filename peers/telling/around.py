"""Figures about the others: who lives, how their clocks go, what of theirs was refused, what was sent and received.

Looked at after each step and whenever somebody scrapes, so that they also hold for a peer that waits or is paused.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from peers.checks.clock import fault
from peers.finding.visit import clock_skew

if TYPE_CHECKING:
    from monitoring.exporter import PeerExporter
    from peers.telling.progress import Progress
    from peers.telling.standing import Standing
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

PURPOSES = {  # what the network counts under a handler's name, as the metrics' table calls it
    "averaging": "averaging",
    "control": "control",
    "state": "state",
    "dht": "directory",
    "manifest": "blobs",
    "blob": "blobs",
}


ASKED, ASK_SECONDS = 3, 30.0  # peers tried for a clock; how often at most


class Around:
    def __init__(self, exporter: PeerExporter, progress: Progress, network: Network, standing: Standing) -> None:
        self.exporter, self.progress, self.network, self.standing = exporter, progress, network, standing
        self.lock = threading.Lock()  # scrapes come in threads of their own
        self.counted: Counter[str] = Counter()  # rejections told to the exporter so far
        self.asks_at = 0.0
        self.asked: float | None = None  # what a peer said when it was asked last

    def look(self) -> float | None:
        """Export them. Seconds that this machine's clock is ahead of the others'; None: not known now."""
        with self.lock:
            records = self.progress.records()
            self.exporter.live_peers(Counter(record.role for record in records.values()))
            self.exporter.direct_peers(len(self.network.direct_peers()))
            self.exporter.waits_at(int(self.progress.values.get("step", 0)))
            others = {peer: each for peer, each in records.items() if peer != self.network.peer_id}
            skew = self._confirmed(self.standing.skew(others), others)
            self.exporter.clock_skew(skew)
            rejected = self.network.rejected()
            for reason, count in (rejected - self.counted).items():
                self.exporter.rejected(reason, count)
            self.counted = rejected
            self._bytes()
            return skew

    def _confirmed(self, skew: float | None, others: Mapping[str, ProgressRecord]) -> float | None:
        """Records are read late where machines are busy: before the clock is called wrong, a peer is asked."""
        if fault(skew) is None:
            return skew
        now = time.monotonic()
        if now >= self.asks_at:
            self.asks_at, self.asked = now + ASK_SECONDS, clock_skew(self.network, sorted(others)[:ASKED])
        return self.asked

    def _bytes(self) -> None:
        totals: Counter[tuple[str, str]] = Counter()
        for (direction, purpose), size in self.network.traffic.snapshot().items():
            totals[direction, PURPOSES.get(purpose, "other")] += size
        for (direction, purpose), size in totals.items():
            self.exporter.bytes_total(direction, purpose, size)
