"""The peers of `benchmarks.wan`, each in a process of its own behind a home link: ours, and hivemind's averager."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import Hivemind
from benchmarks.home_links import address_of

if TYPE_CHECKING:
    from peers.training.trainer import StepReport
    from swarm.averaging.averager import Missed

INNER_STEPS = 40
MODEL = {"vocab_size": 16384, "hidden_size": 512, "layers": 8, "heads": 8, "sequence_length": 256}
WARM_ROUNDS = 1
PATIENCE_SECONDS = 150.0


class OursAtHome:
    """One training peer whose inner steps are replayed."""

    def __init__(self, index: int, count: int, addresses: Sequence[str], *, phase: float, mbit: float) -> None:
        """phase: seconds of an inner phase. mbit: of its line, upwards."""
        from benchmarks.replayed import Replayed
        from swarm.averaging.live.averager import RoundAverager
        from swarm.averaging.live.start import Start, Surroundings
        from swarm.model.bloom import model_from_vector
        from swarm.model.initial import initial_vector
        from swarm.network.host import Network
        from swarm.state.shared import SharedState
        from swarm.trust.identity import Identity

        self.manifest = manifest_of(count)
        listen = (f"/ip4/{address_of(index)}/tcp/0",)
        network = Network(
            Identity.generate(),
            self.manifest.digest,
            initial_peers=list(addresses),
            listen=listen,
            direct=False,  # two homes are not in one network, though the addresses look like it
        )
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
            surroundings=Surroundings(lambda: self.alive, wait_for=count, bandwidth=mbit * 1e6),
        )
        model = model_from_vector(self.manifest.model, self.state.parameters)
        self.compute = Replayed(model, self.state.layout, phase / INNER_STEPS, seed=index)
        self.steps: list[dict[str, Any]] = []
        self.missed = 0
        self.begin = self.mark()

    def addresses(self) -> list[str]:
        return self.network.addresses()

    def name(self) -> dict[str, str]:
        return {"peer": self.network.peer_id}

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
            "cpu_seconds": last[2] - first[2],
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


class HivemindAtHome(Hivemind):
    """The baseline, on a vector of the same size."""

    def __init__(self, index: int, count: int, addresses: Sequence[str]) -> None:
        from swarm.run.manifest import ModelSpec
        from swarm.run.sizing import parameters

        super().__init__(
            index, count, addresses, values=parameters(ModelSpec(**MODEL)), window=5.0, host=address_of(index)
        )

    def patient_round(self) -> dict[str, Any]:
        """Seconds of a round, and with how many."""
        began = time.monotonic()
        answer = self.round(timeout=PATIENCE_SECONDS)
        return {"seconds": answer["ended"] - began, "members": answer["members"]}
