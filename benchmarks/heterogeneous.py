"""`python -m benchmarks.heterogeneous`: peers of different speed together, against the sum of what each gives alone.

Real peers in one process, each with its daemon on loopback, rounds, shared state, work and trainer's loop; computing is
replayed, so that one of them can be four times slower than another. Nobody is told how fast anybody is. Alone, a peer
has rounds as well, of as many seconds as those of the swarm; what counts are samples that committed rounds included.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers.training.trainer import StepReport
    from swarm.averaging.averager import Missed
    from swarm.run.manifest import Manifest

GOAL = 0.9
SAMPLE_SECONDS = 0.05  # of the fastest peer
MICRO_BATCH = 4
MODEL = {"vocab_size": 4096, "hidden_size": 128, "layers": 4, "heads": 4, "sequence_length": 128}
MODES = {
    "gradient": {"mode": "gradient"},
    "gradient, overlap": {"mode": "gradient", "overlap": True},
    "local": {"mode": "local"},
}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    report: dict[str, Any] = {"slower": options.slower, "step_seconds": options.seconds}
    print(f"{'mode':20}{'alone, samples/s':>26}{'sum':>8}{'together':>10}{'fraction':>10}{'late':>6}")
    for name, training in MODES.items():
        row = report[name] = measure(training, options)
        alone = "  ".join(f"{rate:.1f}" for rate in row["alone"])
        print(
            f"{name:20}{alone:>26}{row['sum']:8.1f}{row['together']:10.1f}{row['fraction']:10.3f}{row['late']:6}",
            flush=True,
        )
    report["throughput_fraction"] = min(report[name]["fraction"] for name in ("gradient", "local"))
    report["within_goal"] = report["throughput_fraction"] >= GOAL
    print(json.dumps(report))
    return report


def measure(training: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Each peer alone (all at once: they wait, and share nothing), then all together."""
    rates = [1 / (SAMPLE_SECONDS * slower) for slower in options.slower]
    with ThreadPoolExecutor(len(rates)) as pool:
        alone = list(pool.map(lambda one: together(training, [one], options), options.slower))
    found = together(training, options.slower, options)
    total = sum(one["rate"] for one in alone)
    return {
        "ideal": [round(rate, 2) for rate in rates],
        "alone": [round(one["rate"], 2) for one in alone],
        "sum": round(total, 2),
        "together": round(found["rate"], 2),
        "fraction": round(found["rate"] / total, 4),
        "late": found["late"],
        "missed": found["missed"],
    }


def together(training: dict[str, Any], slower: Sequence[float], options: argparse.Namespace) -> dict[str, Any]:
    """Samples a second that the rounds of these peers included, after the first round."""
    rate = sum(1 / (SAMPLE_SECONDS * one) for one in slower)
    manifest = manifest_of(training, round(rate * options.seconds), len(slower))
    peers: list[ReplayedPeer] = []
    try:
        for index, one in enumerate(slower):
            doors = peers[0].network.addresses() if peers else []
            peers.append(ReplayedPeer(manifest, index, one, doors))
        names = [peer.network.peer_id for peer in peers]
        threads = [threading.Thread(target=peer.train, args=(names, 1 + options.rounds)) for peer in peers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for peer in peers:
            peer.close()
    first = peers[0]
    assert len({peer.state.digest() for peer in peers}) == 1, "the replicas differ"
    (began, before), (ended, after) = first.marks[0], first.marks[-1]
    counts = {"late": sum(peer.late for peer in peers), "missed": sum(peer.missed for peer in peers)}
    return {"rate": (after - before) / (ended - began), **counts}


class ReplayedPeer:
    """One peer that is `slower` times slower than the fastest."""

    def __init__(self, manifest: Manifest, index: int, slower: float, doors: Sequence[str]) -> None:
        from benchmarks.replayed import Replayed
        from swarm.averaging.live.averager import RoundAverager
        from swarm.averaging.live.start import Start, Surroundings
        from swarm.model.bloom import model_from_vector
        from swarm.model.initial import initial_vector
        from swarm.network.host import Network
        from swarm.state.shared import SharedState
        from swarm.trust.identity import Identity

        self.manifest = manifest
        self.network = Network(Identity.generate(), manifest.digest, initial_peers=doors).start()
        self.state = SharedState.initial(manifest, initial_vector(manifest.model))
        self.alive: dict[str, Any] = {}
        self.averager = RoundAverager(
            self.network,
            manifest,
            self.state.layout,
            span_digests=self.state.span_digests,
            root=self.state.root,
            start=Start.genesis(manifest),
            surroundings=Surroundings(lambda: self.alive),
        )
        model = model_from_vector(manifest.model, self.state.parameters)
        self.compute = Replayed(model, self.state.layout, SAMPLE_SECONDS * slower, seed=index)
        self.marks: list[tuple[float, int]] = []  # when a round was applied, and the samples until then
        self.late = self.missed = 0

    def train(self, peers: Sequence[str], rounds: int) -> None:
        from benchmarks.replayed import Samples
        from peers.training.local_work import LocalWork
        from peers.training.overlapped_work import OverlappedWork
        from peers.training.trainer import Trainer
        from peers.training.work import GradientWork
        from swarm.model.memory import MicroBatch
        from swarm.records import ProgressRecord

        self.alive = dict.fromkeys(peers, ProgressRecord(step=0, state="training", role="trainer", version="0.1.0"))
        parts = {"micro_batch": MicroBatch(MICRO_BATCH, print), "tell": lambda samples: None}
        work: GradientWork | LocalWork
        if self.manifest.training.mode == "local":
            work = LocalWork(self.manifest, self.state, self.compute, self.compute, Samples(), **parts)
        else:
            kind = OverlappedWork if self.manifest.training.overlap else GradientWork
            work = kind(self.state, self.compute, Samples(), **parts)
        calls = {"catch_up": self.follow, "report": self.report, "leaving": bool}
        Trainer(self.state, work, self.averager, rounds, **calls).run()

    def follow(self, missed: Missed) -> bool:
        """Nobody is killed here: a peer that must fetch the state has shown that the measurement is void."""
        assert not missed.behind, missed.reason
        return False

    def report(self, report: StepReport) -> None:
        from swarm.averaging.averager import Averaged

        if not isinstance(report.outcome, Averaged):
            self.missed += 1
            return
        self.late += not report.outcome.included
        self.marks.append((time.monotonic(), self.state.samples))

    def close(self) -> None:
        self.averager.close()
        self.network.close()


def manifest_of(training: dict[str, Any], batch: int, peers: int) -> Manifest:
    """A run whose rounds are due after `batch` samples of all peers."""
    from benchmarks.run import filled

    local = {"inner_steps": max(1, round(batch / peers / MICRO_BATCH)), "inner_batch": MICRO_BATCH}
    training = training | {"steps": 1_000_000, "global_batch": batch, "local": local}
    return filled({"name": "heterogeneous", "model": MODEL, "training": training, "optimizer": {"warmup_steps": 0}})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heterogeneous", description=__doc__.splitlines()[0])
    parser.add_argument("--slower", type=float, nargs="+", default=[1.0, 2.0, 4.0], help="factor of each peer")
    parser.add_argument("--seconds", type=float, default=20.0, help="of computing in a round (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="measured, after the first (default 3)")
    return parser


if __name__ == "__main__":
    main()
