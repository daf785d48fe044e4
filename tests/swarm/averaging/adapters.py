"""Every way to average, as a group of peers that the contract suite drives. Another adapter is one entry in GROUPS."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarm.averaging.averager import Averaged, Averager, Contribution, Outcome
from swarm.averaging.live.averager import RoundAverager
from swarm.averaging.live.start import Start, Surroundings
from swarm.averaging.simulated import SimulatedSwarm
from swarm.model.layout import Layout, Tensor
from swarm.network.host import Network
from swarm.records import ProgressRecord
from swarm.run.schema import AveragingSpec, DataSpec, ModelSpec, OptimizerSpec, RunConfig, SourceSpec, TrainingSpec
from swarm.trust.identity import Identity
from tests.swarm.averaging.live.trainees import BATCH, manifest
from tests.swarm.averaging.wire import Wire

SPAN = 4096
SAMPLES = 4  # that each peer has when its round is due
SECONDS = 60.0


@dataclass
class Group:
    """averagers: by peer id, all of one swarm. told: what each says of its progress, where the adapter asks."""

    averagers: dict[str, Averager]
    told: dict[str, ProgressRecord]
    batch: int = 0  # samples that a trainer tells before its round; 0: it averages unasked

    @property
    def peers(self) -> list[str]:
        return sorted(self.averagers)

    def round(self, step: int, gifts: dict[str, Contribution]) -> dict[str, Outcome]:
        """All peers average at once, each in a thread of its own."""
        outcomes: dict[str, Outcome] = {}

        def take_part(peer: str) -> None:
            if self.batch:
                self.asked(peer, step, self.batch)
            outcomes[peer] = self.averagers[peer].average(step, gifts[peer])

        threads = [threading.Thread(target=take_part, args=(peer,), daemon=True) for peer in gifts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert set(outcomes) == set(gifts), f"no outcome for {set(gifts) - set(outcomes)}"
        return outcomes

    def asked(self, peer: str, step: int, samples: int) -> None:
        """Wait until this peer, which has so many samples, is asked for them, as a trainer does."""
        deadline, pause = time.monotonic() + SECONDS, threading.Event()
        while not self.averagers[peer].due(step, samples):
            assert time.monotonic() < deadline, f"{peer} with {samples} samples is never asked for them"
            pause.wait(0.005)


@dataclass(frozen=True)
class Kind:
    """An adapter under test. error: the largest relative error of a mean. identical: the same bits for everybody."""

    start: Callable[[int, int], object]  # (peers, values) -> context manager of a Group
    error: float
    identical: bool = True
    takes_nothing: bool = True  # whether a peer without a contribution is a member
    foresees: bool = False  # whether the micro-batch under way counts for `due`


def gift(vector: np.ndarray, samples: int) -> Contribution:
    return Contribution(vector.astype(np.float32), float(samples), samples)


def dense(outcome: Outcome) -> np.ndarray:
    """The mean as one vector."""
    assert isinstance(outcome, Averaged), outcome
    vector = np.full(outcome.mean.size, np.nan, np.float32)
    for span, values in outcome.mean.spans():
        assert values is not None, span
        vector[span] = values
    return vector


def simulated(codec: str) -> Callable[[int, int], object]:
    @contextmanager
    def start(peers: int, size: int) -> Iterator[Group]:
        swarm = SimulatedSwarm(AveragingSpec(codec=codec, span_size=SPAN), size)
        averagers: dict[str, Averager] = {f"peer-{i}": swarm.join(f"peer-{i}", samples=SAMPLES) for i in range(peers)}
        yield Group(averagers, {})
        for averager in averagers.values():
            averager.close()

    return start


@contextmanager
def hivemind(peers: int, size: int) -> Iterator[Group]:
    """Real daemons on loopback; only who is how far is told here and not read from the DHT."""
    from swarm.averaging.hivemind import HivemindAverager

    told: dict[str, ProgressRecord] = {}
    averagers: dict[str, Averager] = {}
    with ExitStack() as stack:
        seeds: Sequence[str] = ()
        for _ in range(peers):
            network = stack.enter_context(Network(Identity.generate(), "0" * 64, initial_peers=seeds))
            seeds = seeds or network.addresses()
            averager = HivemindAverager(network, config(peers), size, progress=lambda: told)  # type: ignore[arg-type]
            stack.callback(averager.close)
            averagers[network.peer_id] = averager
            told[network.peer_id] = ProgressRecord(
                step=0, samples=SAMPLES, state="training", role="trainer", version="1"
            )
        yield Group(averagers, told)


def rounds(codec: str, *, daemons: bool) -> Callable[[int, int], object]:
    """The round of docs/protocol.md, over daemons on loopback or over streams within this process."""

    @contextmanager
    def start(peers: int, size: int) -> Iterator[Group]:
        run = manifest(codec=codec, span_size=SPAN, weight_cap=1.0)
        layout = Layout((Tensor("vector", (size,), 0),))
        told: dict[str, ProgressRecord] = {}
        averagers: dict[str, Averager] = {}
        with ExitStack() as stack:
            networks: list[Any] = []
            wire = None if daemons else Wire()
            if wire is not None:
                stack.callback(wire.close)
            for _ in range(peers):
                if wire is not None:
                    networks.append(wire.join())
                else:
                    seeds = networks[0].addresses() if networks else ()
                    networks.append(stack.enter_context(Network(Identity.generate(), run.digest, initial_peers=seeds)))
            for network in networks:
                told[network.peer_id] = ProgressRecord(step=0, state="training", role="trainer", version="1")
                averagers[network.peer_id] = RoundAverager(
                    network,
                    run,
                    layout,
                    span_digests=lambda spans: [bytes(32)] * len(spans),
                    root=lambda digests: hashlib.sha256(b"".join(digests)).digest(),
                    start=Start.genesis(run),
                    surroundings=Surroundings(lambda: dict(told)),
                )
                stack.callback(averagers[network.peer_id].close)
            yield Group(averagers, told, batch=BATCH)

    return start


def config(peers: int) -> RunConfig:
    """Of which the adapter reads the batch and the spans."""
    return RunConfig(
        name="contract",
        model=ModelSpec(vocab_size=300, hidden_size=8, layers=1, heads=1, sequence_length=8),
        data=DataSpec(sources=(SourceSpec(kind="starter"),)),
        training=TrainingSpec(steps=20, global_batch=peers * SAMPLES),
        optimizer=OptimizerSpec(warmup_steps=1),
        averaging=AveragingSpec(span_size=SPAN),
    )


GROUPS = {
    "simulated-none": Kind(simulated("none@1"), error=1e-6),
    "simulated-float16": Kind(simulated("float16@1"), error=1e-3),
    "simulated-int8": Kind(simulated("int8-block@1"), error=0.015),
    "round-none": Kind(rounds("none@1", daemons=False), error=1e-6, foresees=True),
    "round-int8": Kind(rounds("int8-block@1", daemons=False), error=0.015, foresees=True),
    "round-daemons": Kind(rounds("int8-block@1", daemons=True), error=0.015, foresees=True),
    "hivemind": Kind(hivemind, error=0.03, identical=False, takes_nothing=False),
}
