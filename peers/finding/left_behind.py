"""A run that ended while this peer had not come as far: nobody is left to go on with, and nobody will come."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from peers.finding.ending import Ending, ending
from swarm.errors import EndedError

if TYPE_CHECKING:
    from peers.lifecycle import Leave
    from peers.roles.peer import Peer
    from swarm.run.link import Link

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 20.0  # in which nothing moves here: what of the run's end can still be had comes earlier


class LeftBehind:
    """Looks while a peer takes part, in a thread of its own, and makes it leave. Use as a context manager."""

    def __init__(self, link: Link, peer: Peer, leave: Leave) -> None:
        self.link, self.peer, self.leave = link, peer, leave
        self.closed = threading.Event()
        self.over: Ending | None = None
        self.thread = threading.Thread(target=self._watch, name="left-behind", daemon=True)

    def __enter__(self) -> LeftBehind:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.thread.join(2 * LOOK_SECONDS)

    def require_company(self) -> None:
        """EndedError where that is why this peer has left."""
        if self.over is not None:
            raise EndedError(
                f"{self.over.words} while this peer was still at step {self._step():,}; {self.over.outlook}"
            )

    def _step(self) -> int:
        return int(self.peer.progress.values.get("step", 0))

    def _watch(self) -> None:
        moved, seen = time.monotonic(), (-1, "")
        while not self.closed.wait(LOOK_SECONDS) and not self.leave:
            over, now = self._ended(), (self._step(), self.peer.reporter.exporter.detail)
            if over is None or over.step <= now[0] or now != seen:
                moved, seen = time.monotonic(), now
            elif time.monotonic() - moved > PATIENCE_SECONDS:
                self.over = over
                self.leave.now(over.words)

    def _ended(self) -> Ending | None:
        own = self.peer.network.peer_id
        others = {peer: record for peer, record in self.peer.progress.records().items() if peer != own}
        return ending(self.link, others)
