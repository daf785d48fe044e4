"""Tell the swarm how far this peer is, and read how far the others are: signed, expiring records in the DHT."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from swarm import __version__

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

KIND = "progress"
LIFETIME_SECONDS = 30.0
REPEAT_SECONDS = 3.0


class Progress:
    """Publishes the last thing told, at once and again every few seconds, from a thread of its own."""

    def __init__(self, network: Network, role: str) -> None:
        self.network = network
        self.role = role
        self.values: dict[str, Any] = {}
        self.changed = threading.Event()
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._publish, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.changed.set()
        self.thread.join(5)

    def tell(self, **values: Any) -> None:
        """Fields of `ProgressRecord`; those not named keep their last value."""
        self.values = {**self.values, **values}
        self.changed.set()

    def _publish(self) -> None:
        from swarm.errors import NetworkError
        from swarm.records import ProgressRecord

        while not self.closed.is_set():
            self.changed.wait(REPEAT_SECONDS)
            self.changed.clear()
            if not self.values:
                continue
            record = ProgressRecord(role=self.role, version=__version__, **self.values)
            try:
                self.network.publish(KIND, record.to_bytes(), LIFETIME_SECONDS)
            except NetworkError:
                self.closed.wait(REPEAT_SECONDS)  # nobody to tell right now; the next turn tries again


def read_progress(network: Network) -> dict[str, ProgressRecord]:
    """The latest valid record of every live peer, by peer id. What they claim is a hint, never proof."""
    from swarm.records import ProgressRecord, RecordError

    found = {}
    for record in network.read(KIND):
        try:
            found[record.peer_id] = ProgressRecord.from_bytes(record.payload)
        except RecordError:
            network.rejected("record")
    return found
