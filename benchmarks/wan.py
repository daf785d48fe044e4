"""`python -m benchmarks.wan --peers 4 --mbit 20 --rtt 100`: how much of its time a peer computes, on home links.

Each peer is a process in a network namespace of its own, with its daemon, the product's rounds, mode "local" with
overlap, and the trainer's loop; a userspace link carries their packets (`benchmarks.home_links`). 33.6M values (the
model of configs/small-local.toml). Inner steps are replayed: each takes its seconds and costs nothing, since this
machine could not compute for all peers; what averaging itself costs in CPU is told beside it.

The baseline is hivemind's averager on the same kind of link, with its 8-bit codec, as OpenDiLoCo uses it: the round
follows the inner phase, and nothing is computed meanwhile. Since nothing overlaps, its inner phase is not waited for.

compute_fraction = seconds of inner steps / seconds in all, of the slowest peer, over the measured rounds;
exchange_fraction = median seconds of an exchange / seconds of an inner phase. Below 0.5 it would be void: a round that
is short against the inner phase is easy to hide.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.home_links import HomeLinks, address_of, move_in, why_not

if TYPE_CHECKING:
    from peers.training.trainer import StepReport
    from swarm.averaging.averager import Missed

GOAL, LEAST_EXCHANGE = 0.95, 0.5
INNER_STEPS = 40
MODEL = {"vocab_size": 16384, "hidden_size": 512, "layers": 8, "heads": 8, "sequence_length": 256}
WARM_ROUNDS = 1
PATIENCE_SECONDS = 150.0


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    if (reason := why_not()) is not None:
        print(f"SKIPPED: home links cannot be made on this machine: {reason}; nothing was measured")
        report: dict[str, Any] = {"skipped": reason}
        print(json.dumps(report))
        return report
    os.environ["OMP_NUM_THREADS"] = "1"
    report = {"peers": options.peers, "mbit": options.mbit, "rtt_ms": options.rtt, "phase_seconds": options.phase}
    report |= _ours(options)
    print(f"bloomswarm: {json.dumps(report)}", flush=True)
    if options.baseline_rounds:
        seconds = _baseline(options)
        report["baseline_exchange_seconds"] = round(seconds, 1)
        report["baseline_compute_fraction"] = round(options.phase / (options.phase + seconds), 4)
    report["void"] = report["exchange_fraction"] < LEAST_EXCHANGE
    report["within_goal"] = report["compute_fraction"] >= GOAL and not report["void"]
    _table(report)
    print(json.dumps(report))
    return report


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    rounds = WARM_ROUNDS + options.rounds
    with Home(serve_peer, options) as home:
        answers = home.ask({"peers": home.ask("name"), "rounds": rounds})
        carried, dropped = home.links.carried_bytes, home.links.dropped
    steps = [step for answer in answers for step in answer["steps"][WARM_ROUNDS:]]
    fractions = [answer["computed"] / answer["seconds"] for answer in answers]
    exchange = median(step["exchange"] for step in steps)
    return {
        "compute_fraction": round(min(fractions), 4),
        "exchange_fraction": round(exchange / options.phase, 4),
        "exchange_seconds": round(exchange, 2),
        "apply_seconds": round(median(step["apply"] for step in steps), 3),
        "cpu_seconds_a_round": round(max(answer["cpu"] for answer in answers) / options.rounds, 2),
        "sent_bytes_a_round": round(median(step["sent"] for step in steps)),
        "missed_rounds": sum(answer["missed"] for answer in answers),
        "members": min(step["members"] for step in steps),
        "void_spans": sum(step["void"] for step in steps),
        "link_bytes": carried,
        "link_drops": dropped,
        "replicas_agree": len({answer["digest"] for answer in answers}) == 1,
    }


def _baseline(options: argparse.Namespace) -> float:
    """Median seconds of a round of hivemind's with all peers in it, the first one not counted."""
    with Home(serve_hivemind, options) as home:
        found = [home.ask("round") for _ in range(WARM_ROUNDS + options.baseline_rounds)]
    full = [answers for answers in found[WARM_ROUNDS:] if all(one["members"] == options.peers for one in answers)]
    print(f"hivemind: {len(full)} of {options.baseline_rounds} rounds with all peers")
    assert full, "no round of hivemind's was complete"
    return median(max(one["seconds"] for one in answers) for answers in full)


def _table(report: dict[str, Any]) -> None:
    line = f"{report['peers']} peers at {report['mbit']:g} Mbit/s, {report['rtt_ms']:g} ms"
    print(f"{line}; inner phases of {report['phase_seconds']:g} s\n{'':30}{'bloomswarm':>12}{'hivemind':>12}")
    for title, ours, theirs in (
        ("exchange, seconds", "exchange_seconds", "baseline_exchange_seconds"),
        ("fraction of time computing", "compute_fraction", "baseline_compute_fraction"),
    ):
        print(f"{title:30}{report[ours]:>12}{report.get(theirs, '-'):>12}")


class Home:
    """The processes of one measurement and the links between them. Use as a context manager."""

    def __init__(self, work: Any, options: argparse.Namespace) -> None:
        self.work, self.options = work, options
        self.links = HomeLinks(options.mbit, options.rtt / 1000)

    def __enter__(self) -> Home:
        context = get_context("spawn")
        self.links.__enter__()
        self.pipes: list[Connection] = []
        self.processes = []
        for index in range(self.options.peers):
            here, there = context.Pipe()
            process = context.Process(target=live, args=(self.work, there, index, os.getpid(), self.options))
            process.start()
            self.links.connect(here, index)
            self.pipes.append(here)
            self.processes.append(process)
        addresses: list[str] = []
        for pipe in self.pipes:  # the first one is the door for the others
            pipe.send(addresses)
            addresses = addresses or pipe.recv()
        for pipe in self.pipes[1:]:
            pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()
        self.links.__exit__()

    def ask(self, what: Any) -> list[Any]:
        for pipe in self.pipes:
            pipe.send(what)
        return [pipe.recv() for pipe in self.pipes]


def live(work: Any, pipe: Connection, index: int, parent: int, options: argparse.Namespace) -> None:
    """A peer's process: moves in, then does what the pipe says until it says None."""
    move_in(pipe, index, parent)
    work(pipe, index, pipe.recv(), options)


def serve_peer(pipe: Connection, index: int, addresses: list[str], options: argparse.Namespace) -> None:
    peer = HomePeer(index, addresses, options)
    pipe.send(peer.network.addresses())
    while (request := pipe.recv()) is not None:
        pipe.send(peer.network.peer_id if request == "name" else peer.train(**request))
    peer.close()


def serve_hivemind(pipe: Connection, index: int, addresses: list[str], options: argparse.Namespace) -> None:
    from benchmarks.contenders import Hivemind
    from swarm.manifest import ModelSpec
    from swarm.sizing import parameters

    values = parameters(ModelSpec(**MODEL))
    peer = Hivemind(index, options.peers, addresses, values=values, window=5.0, host=address_of(index))
    pipe.send(peer.addresses())
    while pipe.recv() is not None:
        began = time.monotonic()
        answer = peer.round(timeout=PATIENCE_SECONDS)
        pipe.send({"seconds": answer["ended"] - began, "members": answer["members"]})
    peer.close()


class HomePeer:
    """One training peer whose inner steps are replayed."""

    def __init__(self, index: int, addresses: list[str], options: argparse.Namespace) -> None:
        from benchmarks.replayed import Replayed
        from swarm.averaging.live.averager import RoundAverager, Start, Surroundings
        from swarm.identity import Identity
        from swarm.model.bloom import model_from_vector
        from swarm.model.initial import initial_vector
        from swarm.network.host import Network
        from swarm.state import SharedState

        self.manifest = manifest_of(options.peers)
        listen = (f"/ip4/{address_of(index)}/tcp/0",)
        network = Network(Identity.generate(), self.manifest.digest, initial_peers=addresses, listen=listen)
        self.network = network.start()
        self.state = SharedState.initial(self.manifest, initial_vector(self.manifest.model))
        self.alive: dict[str, Any] = {}
        self.averager = RoundAverager(
            self.network,
            self.manifest,
            self.state.layout,
            span_digests=self.state.span_digests,
            root=self.state.root,
            start=Start.genesis(self.manifest),
            surroundings=Surroundings(lambda: self.alive, wait_for=options.peers, bandwidth=options.mbit * 1e6),
        )
        model = model_from_vector(self.manifest.model, self.state.parameters)
        self.compute = Replayed(model, self.state.layout, options.phase / INNER_STEPS, seed=index)
        self.steps: list[dict[str, Any]] = []
        self.missed = 0
        self.begin = self.mark()

    def mark(self) -> tuple[float, float, float]:
        """Now, what was computed until now, and CPU seconds of this process and its daemon."""
        import psutil

        children = [child.cpu_times() for child in psutil.Process().children()]
        cpu = time.process_time() + sum(times.user + times.system for times in children)
        return time.monotonic(), self.compute.computed, cpu

    def train(self, peers: list[str], rounds: int) -> dict[str, Any]:
        from benchmarks.replayed import Samples
        from peers.training.local_work import LocalWork
        from peers.training.trainer import Trainer
        from swarm.model.memory import MicroBatch
        from swarm.records import ProgressRecord

        record = ProgressRecord(step=0, state="training", role="trainer", version="0.1.0")
        self.alive = dict.fromkeys(peers, record)
        sizes = {"micro_batch": MicroBatch(1, print), "tell": lambda samples: None}
        work = LocalWork(self.manifest, self.state, self.compute, self.compute, Samples(), **sizes)
        calls = {"catch_up": follow, "report": self.report, "leaving": bool}
        Trainer(self.state, work, self.averager, rounds, **calls).run()
        first, last = self.begin, self.mark()
        return {
            "steps": self.steps,
            "missed": self.missed,
            "seconds": last[0] - first[0],
            "computed": last[1] - first[1],
            "cpu": last[2] - first[2],
            "digest": self.state.digest(),
        }

    def report(self, report: StepReport) -> None:
        from swarm.averaging.averager import Averaged

        outcome = report.outcome
        if not isinstance(outcome, Averaged):
            self.missed += 1
            return
        stats = outcome.stats
        members = sum(member.samples > 0 for member in outcome.roster)
        told = {"exchange": stats.seconds, "apply": report.apply_seconds, "sent": stats.bytes_sent}
        self.steps.append(told | {"members": members, "void": stats.void_spans})
        print(f"round {report.step} of {self.network.peer_id[-4:]}: {self.steps[-1]}", file=sys.stderr, flush=True)
        if len(self.steps) == WARM_ROUNDS:
            self.begin = self.mark()

    def close(self) -> None:
        self.averager.close()
        self.network.close()


def follow(missed: Missed) -> bool:
    """Nobody is killed here: a peer that must fetch the state has shown that the measurement is void."""
    assert not missed.behind, missed.reason
    return False


def manifest_of(peers: int) -> Any:
    """A local run in which a round is due when each peer has taken its inner steps of one sample."""
    from benchmarks.run import filled

    local = {"inner_steps": INNER_STEPS, "inner_batch": 1, "overlap": True}
    training = {"mode": "local", "steps": 1_000_000, "global_batch": INNER_STEPS * peers, "local": local}
    return filled({"name": "wan", "model": MODEL, "training": training, "optimizer": {"warmup_steps": 0}})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wan", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--mbit", type=float, default=20.0, help="of each peer's line, up and down (default 20)")
    parser.add_argument("--rtt", type=float, default=100.0, help="milliseconds between any two peers (default 100)")
    parser.add_argument("--phase", type=float, default=40.0, help="seconds of an inner phase (default 40)")
    parser.add_argument("--rounds", type=int, default=3, help="measured, after a warm one (default 3)")
    parser.add_argument("--baseline-rounds", type=int, default=2, help="of hivemind; 0: without it (default 2)")
    return parser


if __name__ == "__main__":
    main()
