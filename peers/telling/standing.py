"""What a peer tells the swarm of itself beyond its step: rounds, checkpoint, machine. Fields of `ProgressRecord`."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from monitoring.exporter import PeerExporter, missed_reason
from swarm.averaging.averager import Averaged, Outcome

if TYPE_CHECKING:
    from peers.training.evaluator import Validation
    from swarm.averaging.live.figures import Figures
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

LAGS = 8  # records of one peer that are remembered: the least delayed of them tells its clock best
PREFIX = 16  # hex digits of a digest, to compare


class Standing:
    """Told what happens; `fields` is how things stand. A monitor sums it up and never takes it for proof."""

    def __init__(self, exporter: PeerExporter, network: Network, clock: Callable[[], float] = time.time) -> None:
        self.exporter, self.network, self.clock = exporter, network, clock
        self.started = clock()
        self.rounds: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.lags: dict[str, deque[tuple[float | None, float]]] = {}  # by peer: (its clock, how far ours was ahead)

    def round(self, outcome: Outcome, seconds: float) -> None:
        match outcome:
            case Averaged():
                self.rounds["committed"] += 1
                self.last |= {"round_seconds": seconds, "round_peers": len(outcome.roster)}
            case missed:
                self.rounds[missed_reason(missed.reason)] += 1

    def checkpoint(self, saved: bool, step: int, digest: str | None = None) -> None:
        """digest: of the shared state in it, where all peers' must be the same."""
        self.last["checkpoint_failed"] = not saved
        if saved:
            self.last |= {"checkpoint_step": step, "checkpoint_time": self.clock()}
        if digest is not None:
            self.last |= {"state_digest": digest[:PREFIX], "digest_step": step}

    def validated(self, found: Validation) -> None:
        """This peer has measured the shared state on held-out text."""
        self.exporter.validation(found.bits_per_byte, found.step)
        self.last |= {
            "validation_by_language": {code: min(bits, 1e4) for code, bits in found.bits_per_byte.items()},
            "validation_step": found.step,
            "validation_text": found.text[:PREFIX],
        }

    def replaced(self) -> None:
        """The shared state was replaced by another: what was told of the one before holds no more."""
        self.last |= {"state_digest": None, "digest_step": None}

    def figures(self, figures: Figures) -> None:
        """Where this peer's log is after the last round."""
        if figures.lineage:
            self.last |= {"lineage": figures.lineage[:PREFIX], "head": figures.head[:PREFIX]}

    def skew(self, others: Mapping[str, ProgressRecord]) -> float | None:
        """This machine's clock minus the median of the others', as far as their records tell. Called now and then.

        A record is seconds old when it is read; of each peer the freshest of the last few counts. How old the first
        one is that is seen of a peer, nobody knows, so it does not count.
        """
        now = self.clock()
        self.lags = {peer: lags for peer, lags in self.lags.items() if peer in others}
        for peer, record in others.items():
            lags = self.lags.get(peer)
            if lags is None:
                self.lags[peer] = deque([(record.clock, math.inf)], maxlen=LAGS)
            elif record.clock is not None and lags[-1][0] != record.clock:
                lags.append((record.clock, now - record.clock))
        least = [lag for lags in self.lags.values() if math.isfinite(lag := min(lag for _, lag in lags))]
        return median(least) if least else None

    def fields(self) -> dict[str, Any]:
        instruments = self.exporter.instruments
        machine = instruments.machine.read()
        return self.last | {
            "started": self.started,
            "rounds": dict(self.rounds),
            "memory_bytes": int(machine.memory_bytes),
            "disk_free_bytes": None if machine.disk_free_bytes is None else int(machine.disk_free_bytes),
            "sent_bytes": self.network.traffic.total("sent"),
            "received_bytes": self.network.traffic.total("received"),
            "energy_joules": instruments.joules,
            "carbon_grams": instruments.carbon_grams,
            "rejected": sum(self.network.rejected().values()),
        }
