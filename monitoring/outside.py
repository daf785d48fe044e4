"""Which peers are probed when, and what is made of the results: each live peer with an address, now and then."""

from __future__ import annotations

import threading
import time

from monitoring.api import Watch
from monitoring.monitor_exporter import MonitorExporter
from monitoring.prober_client import Prober, Result
from monitoring.view.acquaintance import Acquaintance
from monitoring.view.findings import Reach

EVERY_SECONDS, AGAIN_SECONDS = 120.0, 30.0  # one peer; one that could not be reached
TWICE = 2  # in a row, before a peer is said to be unreachable: it may just have restarted
PER_TURN = 10  # addresses given to the prober at one look: with the prober's own rate the bound on what we dial


class Outside:
    """Use as a context manager; `turn` after each look at the swarm."""

    def __init__(self, exporter: MonitorExporter, watch: Watch, private: bool) -> None:
        self.exporter, self.watch = exporter, watch
        self.prober = Prober(self._told, private)
        self.asked: dict[str, tuple[float, str]] = {}  # peer -> when, at which address
        self.results: dict[str, Result] = {}
        self.failures: dict[str, int] = {}  # peer -> in a row
        self.lock = threading.Lock()

    def __enter__(self) -> Outside:
        self.prober.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.prober.__exit__(*error)

    def turn(self) -> None:
        now = time.monotonic()
        announced = self.watch.read(lambda view, *_: {known.peer_id: first_of(known) for known in view.live()})
        due = [peer for peer, address in announced.items() if address and self._is_due(peer, address, now)]
        for peer in due[:PER_TURN]:
            self.asked[peer] = now, announced[peer]
            self.prober.ask(announced[peer])
        with self.lock:
            self.asked = {peer: when for peer, when in self.asked.items() if peer in announced}
            self.results = {peer: result for peer, result in self.results.items() if peer in announced}
            self.failures = {peer: count for peer, count in self.failures.items() if peer in announced}
            results = dict(self.results)
        self.exporter.prober(self.prober.up)
        self._publish(results)

    def _is_due(self, peer: str, address: str, now: float) -> bool:
        when, where = self.asked.get(peer, (-EVERY_SECONDS, ""))
        return now - when >= (AGAIN_SECONDS if peer in self.failures else EVERY_SECONDS) or address != where

    def _told(self, result: Result) -> None:
        self.exporter.probe(result.result, result.seconds)
        with self.lock:
            self.results[result.peer_id] = result
            if result.result == "unreachable":
                self.failures[result.peer_id] = self.failures.get(result.peer_id, 0) + 1
            else:
                self.failures.pop(result.peer_id, None)

    def _publish(self, results: dict[str, Result]) -> None:
        self.exporter.probed(
            {peer: result.result for peer, result in results.items()},
            [each.connect_seconds for each in results.values() if each.connect_seconds is not None],
            [each.ping_seconds for each in results.values() if each.ping_seconds is not None],
        )
        self.watch.reach = Reach(tuple(peer for peer, count in self.failures.items() if count >= TWICE))


def first_of(known: Acquaintance) -> str:
    """The address to dial, or "": one that names another peer would make us dial somebody else."""
    return next((each for each in known.record.addresses if each.endswith(f"/p2p/{known.peer_id}")), "")
