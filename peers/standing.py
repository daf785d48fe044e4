"""What a peer tells the swarm of itself beyond its step: rounds, checkpoint, machine. Fields of `ProgressRecord`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from monitoring.exporter import PeerExporter, missed_reason
from swarm.averaging.averager import Averaged, Outcome

if TYPE_CHECKING:
    from swarm.network.host import Network


class Standing:
    """Told what happens; `fields` is how things stand. A monitor sums it up and never takes it for proof."""

    def __init__(self, exporter: PeerExporter, network: Network, clock: Callable[[], float] = time.time) -> None:
        self.exporter, self.network, self.clock = exporter, network, clock
        self.started = clock()
        self.rounds: Counter[str] = Counter()
        self.last: dict[str, Any] = {}

    def round(self, outcome: Outcome, seconds: float) -> None:
        match outcome:
            case Averaged():
                self.rounds["committed"] += 1
                self.last |= {"round_seconds": seconds, "round_peers": len(outcome.roster)}
            case missed:
                self.rounds[missed_reason(missed.reason)] += 1

    def checkpoint(self, saved: bool, step: int) -> None:
        self.last["checkpoint_failed"] = not saved
        if saved:
            self.last |= {"checkpoint_step": step, "checkpoint_time": self.clock()}

    def fields(self) -> dict[str, Any]:
        machine, meter = self.exporter.machine.read(), self.exporter.meter
        return self.last | {
            "started": self.started,
            "rounds": dict(self.rounds),
            "memory_bytes": int(machine.memory_bytes),
            "disk_free_bytes": None if machine.disk_free_bytes is None else int(machine.disk_free_bytes),
            "sent_bytes": self.network.traffic.total("sent"),
            "received_bytes": self.network.traffic.total("received"),
            "energy_joules": meter.total if meter is not None else 0.0,
            "rejected": sum(self.network.rejected().values()),
        }
