"""Tell the swarm how far this peer is, and hear how far the others are: signed, expiring records in the DHT."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from peers.finding.knocking import Knocking
from swarm import __version__

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

KIND = "progress"
LIFETIME_SECONDS = 30.0
REPEAT_SECONDS = 3.0  # between two records that say the same
COUNTING_SECONDS = 1.0  # between two of a peer that trains: samples alone are no reason to hurry
LONELY_SECONDS = 45.0  # without a record of anybody else, before others are looked for
LONGEST_SECONDS = 600.0  # between two searches; each time twice as long as before, up to this
SHORTEST_SECONDS = 0.25  # between any two turns: what changes more often is told at the next one


class Progress:
    """Publishes what was told last and reads what others told, from a thread of its own. Use as a context manager.

    lonely(seconds): called, in that thread, when nobody else has been heard of for a while; it is called again after so
    many seconds. found(): somebody is there again. twin(): another process, begun before us, runs with our key.
    """

    def __init__(
        self,
        network: Network,
        role: str,
        *,
        lonely: Callable[[float], None] | None = None,
        found: Callable[[], None] | None = None,
        twin: Callable[[], None] | None = None,
    ) -> None:
        self.network = network
        self.role = role
        self.lonely, self.found, self.twin = lonely, found, twin
        self.knocking = Knocking(network) if role != "seed" else None
        self.met, self.patience, self.started = time.monotonic(), LONELY_SECONDS, time.time()
        self.values: dict[str, Any] = {}
        self.heard: dict[str, ProgressRecord] = {}
        self.changed = threading.Event()
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.changed.set()
        self.thread.join(5)

    def tell(self, **values: Any) -> None:
        """Fields of `ProgressRecord`; those not named keep their last value. Returns at once."""
        before, self.values = self.values, {**self.values, **values}
        if any(before.get(name) != value for name, value in values.items() if name != "samples"):
            self.changed.set()

    def records(self) -> dict[str, ProgressRecord]:
        """The last valid record of every live peer, ours too, by peer id. What they claim is a hint, never proof."""
        return self.heard

    def trainers(self) -> dict[str, ProgressRecord]:
        """Those of them that train and are not about to leave."""
        return {
            peer: record
            for peer, record in self.heard.items()
            if record.role == "trainer" and record.state not in ("leaving", "finished")
        }

    def members(self) -> dict[str, ProgressRecord]:
        """Those that take part in rounds and are not about to leave: who trains, averages or keeps states."""
        return {
            peer: record
            for peer, record in self.heard.items()
            if (record.role in ("trainer", "assistant") and record.state not in ("leaving", "finished"))
            or (record.role == "archive" and record.state != "leaving")  # it stays when the run is over
        }

    def _run(self) -> None:
        from swarm.errors import NetworkError

        while not self.closed.is_set():
            self.changed.wait(COUNTING_SECONDS if self.values.get("samples") else REPEAT_SECONDS)
            self.changed.clear()
            began = time.monotonic()
            try:
                self._turn()
                self._look_round(began)
            except NetworkError:
                self.closed.wait(REPEAT_SECONDS)  # nobody to tell right now; the next turn tries again
            self.closed.wait(max(0.0, SHORTEST_SECONDS - (time.monotonic() - began)))

    def _look_round(self, now: float) -> None:
        if self.knocking is not None:
            self.knocking.look(self.heard)
        if self.twin is not None and is_twin(self.heard.get(self.network.peer_id), self.started):
            self.twin()
        if len(self.heard.keys() - {self.network.peer_id}) > 0:
            if self.patience > LONELY_SECONDS and self.found is not None:
                self.found()
            self.met, self.patience = now, LONELY_SECONDS
        elif self.lonely is not None and now - self.met > self.patience:
            self.met, self.patience = now, min(2 * self.patience, LONGEST_SECONDS)
            self.lonely(self.patience)

    def _turn(self) -> None:
        from swarm.records import ProgressRecord

        if self.values:
            values = {"started": self.started, **self.values}
            values |= self.network.guard.told() if self.network.guard is not None else {}
            record = ProgressRecord(role=self.role, version=__version__, clock=time.time(), **values)
            self.network.publish(KIND, record.to_bytes(), LIFETIME_SECONDS)
        self.heard = read_progress(self.network)
        if self.network.guard is not None:
            self.network.guard.turn(self.heard)


def read_progress(network: Network, seconds: float | None = None) -> dict[str, ProgressRecord]:
    """The latest valid record of every live peer, by peer id; malformed ones are counted and left out.

    NetworkError where the directory does not answer in so many seconds; None: the network's own patience.
    """
    from swarm.records import ProgressRecord, RecordError

    found = {}
    for record in network.read(KIND, seconds):
        try:
            found[record.peer_id] = ProgressRecord.from_bytes(record.payload)
        except RecordError as error:
            network.reject(error.reason)
    found = found if network.guard is None else network.guard.admitted(found)
    for peer, each in found.items():
        network.note_addresses(peer, each.addresses)
    return found


def is_twin(record: ProgressRecord | None, started: float) -> bool:
    """Whether our own record was written by a process that began before us and lives after we began at `started`."""
    if record is None or record.started is None or record.clock is None:
        return False
    return record.started < started < record.clock


def enough(live: Mapping[str, ProgressRecord], peers: int, step: int) -> bool:
    """Are so many of them ready to train, or is one further than `step`? Who still reads text is not ready."""
    ready = sum(record.state != "assembling" for record in live.values())
    return ready >= peers or any(record.step > step for record in live.values())
