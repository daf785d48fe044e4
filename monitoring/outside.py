"""Which peers are probed when, and what is made of the results: each live peer with an address, now and then."""

from __future__ import annotations

import threading
import time

from monitoring.api import Watch
from monitoring.monitor_exporter import MonitorExporter
from monitoring.prober_client import Prober, Result
from monitoring.view.findings import Reach

EVERY_SECONDS = 120.0  # one peer
PER_TURN = 10  # addresses given to the prober at one look: with the prober's own rate the bound on what we dial


class Outside:
    """Use as a context manager; `turn` after each look at the swarm."""

    def __init__(self, exporter: MonitorExporter, watch: Watch, private: bool) -> None:
        self.exporter, self.watch = exporter, watch
        self.prober = Prober(self._told, private)
        self.asked: dict[str, float] = {}
        self.results: dict[str, Result] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> Outside:
        self.prober.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.prober.__exit__(*error)

    def turn(self) -> None:
        now = time.monotonic()
        announced = self.watch.read(lambda view, *_: {known.peer_id: known.record.addresses for known in view.live()})
        due = [peer for peer in announced if now - self.asked.get(peer, -EVERY_SECONDS) >= EVERY_SECONDS]
        due = [peer for peer in due if announced[peer]][:PER_TURN]
        for peer in due:
            self.asked[peer] = now
            own = [address for address in announced[peer] if address.endswith(f"/p2p/{peer}")]
            for address in own[:1]:  # an address that names another peer would make us dial somebody else
                self.prober.ask(address)
        with self.lock:
            self.asked = {peer: when for peer, when in self.asked.items() if peer in announced}
            self.results = {peer: result for peer, result in self.results.items() if peer in announced}
            results = dict(self.results)
        self.exporter.prober(self.prober.up)
        self._publish(results)

    def _told(self, result: Result) -> None:
        self.exporter.probe(result.result, result.seconds)
        with self.lock:
            self.results[result.peer_id] = result

    def _publish(self, results: dict[str, Result]) -> None:
        self.exporter.probed(
            {peer: result.result for peer, result in results.items()},
            [each.connect_seconds for each in results.values() if each.connect_seconds is not None],
            [each.ping_seconds for each in results.values() if each.ping_seconds is not None],
        )
        self.watch.reach = Reach(tuple(peer for peer, each in results.items() if each.result == "unreachable"))
