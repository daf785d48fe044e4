"""Real peers for tests: networks on loopback, each with its rounds, a small shared state and a trainer's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from swarm.averaging.averager import Averaged, Contribution, Missed, Outcome
from swarm.averaging.live.averager import RoundAverager
from swarm.averaging.live.start import Start, Surroundings
from swarm.network.host import Network
from swarm.records import ProgressRecord
from swarm.run.manifest import LanguageStock, Manifest, parse_config, resolve
from swarm.state.shared import SharedState

OWNER = "12D3KooWLbcx2K8JB6aHAWqsKmJ7nKkpvnmLpXXHYvgHqPBDzuTu"  # any: the run is the same in every process
BATCH = 8


def manifest(**averaging: object) -> Manifest:
    """A run of a few ten thousand parameters in several spans."""
    values = {
        "name": "test",
        "model": {"vocab_size": 1024, "hidden_size": 32, "layers": 1, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "starter", "licence": "CC0-1.0"}]},
        "training": {"steps": 1000, "global_batch": BATCH, "checkpoint_every": 4},
        "averaging": {"algorithm": "round", "span_size": 4096, **averaging},
    }
    stock = {"en": LanguageStock(documents=1, text_bytes=1, tokens=100, sequences=6, digest="0" * 64)}
    config = parse_config(values, "test")
    created = {"owner": OWNER, "created": "2026-01-31"}
    return resolve(config, tokenizer_digest="1" * 64, initial_digest="2" * 64, stock=stock, **created)


def gradient(size: int, name: int, step: int) -> np.ndarray:
    """What a peer gives at a step: anybody can compute it."""
    return np.random.default_rng([name, step]).standard_normal(size, dtype=np.float32) * np.float32(1e-3)


class Trainee:
    """One peer with a trainer's thread that does nothing but rounds. `alive` is shared between all of a test."""

    def __init__(
        self,
        network: Network,
        run: Manifest,
        name: int,
        *,
        alive: dict[str, ProgressRecord],
        folder: Path | None = None,
    ) -> None:
        self.network, self.run, self.name, self.alive = network, run, name, alive
        self.state = SharedState.initial(run, np.zeros(SharedState.empty(run, 0, 0).layout.size, np.float32))
        self.averager = RoundAverager(
            network,
            run,
            self.state.layout,
            span_digests=self.state.span_digests,
            root=self.state.root,
            start=Start.genesis(run, folder),
            surroundings=Surroundings(self.others),
        )
        self.outcomes: list[Outcome] = []
        self.errors: list[float] = []
        self.failure: BaseException | None = None
        self.thread: threading.Thread | None = None
        self.stopped = threading.Event()
        self.tell()

    def others(self) -> Mapping[str, ProgressRecord]:
        return MappingProxyType(self.alive)

    def tell(self) -> None:
        record = ProgressRecord(step=self.state.step, state="training", role="trainer", version="0.1.0")
        self.alive[self.network.peer_id] = record

    def start(self, steps: int, samples: int = 4) -> None:
        self.thread = threading.Thread(target=self._train, args=(steps, samples), daemon=True)
        self.thread.start()

    def _train(self, steps: int, samples: int) -> None:
        try:
            while self.state.step < steps and not self.stopped.is_set():
                self.turn(samples)
        except BaseException as error:
            self.failure = error

    def turn(self, samples: int = 4) -> Outcome:
        """One turn of the trainer's loop."""
        step, done = self.state.step, 0
        while not self.averager.due(step, done) and not self.stopped.wait(0.005):
            done = min(samples, done + 2)
        vector = gradient(self.state.layout.size, self.name, step)
        outcome = self.averager.average(step, Contribution(vector, float(done), done))
        self.outcomes.append(outcome)
        if isinstance(outcome, Averaged):
            self.errors.append(self.error(outcome))
            self.state.apply(outcome)
        self.tell()
        return outcome

    def error(self, outcome: Averaged) -> float:
        """Relative L2 distance of a round's mean from that of the gradients its roster signed for."""
        size = self.state.layout.size
        names = {peer: name for name, peer in enumerate(self.alive)}
        total = sum(member.weight for member in outcome.roster)
        wanted = np.zeros(size)
        for member in outcome.roster:
            wanted += member.weight / total * gradient(size, names[member.peer_id], outcome.step)
        got = np.concatenate([values for _, values in outcome.mean.spans() if values is not None])
        return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))

    def worst_error(self) -> float:
        return max(self.errors)

    def missed(self) -> list[Missed]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, Missed)]

    def close(self) -> None:
        self.stopped.set()
        self.averager.close()
        if self.thread is not None:
            self.thread.join(10)


def wait_until(condition: Callable[[], object], seconds: float, what: str, peers: Sequence[Trainee] = ()) -> None:
    """Wait on a condition with a deadline; a peer that failed fails the test."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        for peer in peers:
            if peer.failure is not None:
                raise peer.failure
        told = [(peer.name, peer.state.step, dict(peer.averager.figures.counts)) for peer in peers]
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s: {told}"
        pause.wait(0.02)
