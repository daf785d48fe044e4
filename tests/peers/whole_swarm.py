"""A whole swarm in one process: the real loop, work, batches, state and checkpoints, on the simulated network.

As a program it is a swarm that is killed: `main` forks a process that trains, stops it at a chosen moment (every
computed contribution and every `fsync` is one), ends it with SIGKILL, and lets a new process go on to the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from peers.training.trainer import StepReport, Trainer
from peers.training.work import GradientWork
from swarm.averaging.averager import Averaged, Missed
from swarm.averaging.simulated import CrashedError, Samples, SimulatedAverager, SimulatedSwarm
from swarm.data.batches import Batches
from swarm.data.plan import Plan
from swarm.data.sources import texts_by_language
from swarm.data.stock import take_stock
from swarm.data.store import TokenStore, open_store
from swarm.data.tokenizer import load as load_tokenizer
from swarm.data.tokenizer import train
from swarm.model.bloom import model_from_vector, starting_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.initial import vector_digest
from swarm.model.memory import MicroBatch
from swarm.run.manifest import SignedManifest, parse_config, resolve
from swarm.state.checkpoint import Checkpoint, latest, load, save
from swarm.state.shared import SharedState
from swarm.state.state_file import state_from_bytes, state_to_bytes
from swarm.trust.identity import Identity

LENGTH, VOCABULARY, BATCH = 16, 400, 24
SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """A resolved run on two languages of the starter corpus, and its tokenised text."""

    signed: SignedManifest
    tokenizer: bytes
    cache: Path

    @classmethod
    def make(cls, folder: Path, **averaging: object) -> Run:
        config = parse_config(
            {
                "name": "whole",
                "model": {
                    "vocab_size": VOCABULARY, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": LENGTH,
                },
                "data": {"sources": [{"kind": "starter", "languages": ["en", "fr"]}]},
                "training": {"steps": 20, "global_batch": BATCH},
                "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2},
                "averaging": {"codec": "none@1", "span_size": 1024, **averaging},
            },
            "the test",
        )  # fmt: skip
        tokenizer, owner = train(texts_by_language(config.data, None), VOCABULARY), Identity.generate()
        loaded = load_tokenizer(tokenizer)
        manifest = resolve(
            config,
            owner=owner.peer_id,
            created="2026-01-31",
            tokenizer_digest=loaded.digest,
            initial_digest=vector_digest(starting_vector(config.model)),
            stock=take_stock(config.data, loaded, LENGTH, root=None, cache=folder, progress=lambda line: None),
        )
        return cls(SignedManifest.sign(manifest, owner), tokenizer, folder)

    def store(self) -> TokenStore:
        data = self.signed.manifest.data
        return open_store(data, load_tokenizer(self.tokenizer), LENGTH, root=None, cache=self.cache)

    def batches(self, peer: str) -> Batches:
        return Batches(self.store(), self.plan(), peer)

    def plan(self) -> Plan:
        return Plan(self.signed.manifest.data, BATCH)

    def state(self) -> SharedState:
        return SharedState.initial(self.signed.manifest, starting_vector(self.signed.manifest.model))

    def accumulator(self, state: SharedState) -> GradientAccumulator:
        return GradientAccumulator(model_from_vector(self.signed.manifest.model, state.parameters), state.layout)


@dataclass
class Peer:
    """One peer, and what its loop reported. folder: where it keeps a checkpoint of every step, if it does."""

    run: Run
    averager: SimulatedAverager
    moment: Callable[[], None] = lambda: None
    folder: Path | None = None
    reports: list[StepReport] = field(default_factory=list)
    crashed: bool = False
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.batches, self.state = self.run.batches(self.averager.peer_id), self.run.state()
        if self.folder is not None and (found := latest(self.folder)) is not None:
            self.restore(load(found, self.run.signed.digest))
        sums = self.run.accumulator(self.state)
        self.work = GradientWork(self.state, sums, self.batches, MicroBatch(3, print), lambda samples: self.moment())

    def restore(self, checkpoint: Checkpoint) -> None:
        self.state.adopt(checkpoint.state)
        self.batches.restore(checkpoint.cursor)

    @property
    def step(self) -> int:
        return self.state.step

    def apply(self, outcome: Averaged) -> None:
        self.state.apply(outcome)
        if self.folder is not None:
            roster = [member.peer_id for member in outcome.roster]
            save(
                self.folder, self.state, manifest=self.run.signed, tokenizer=self.run.tokenizer,
                cursor=self.batches.cursor(), extra={"roster": roster},
            )  # fmt: skip

    def catch_up(self, missed: Missed) -> bool:
        """Replay what the others committed meanwhile."""
        before = self.step
        while (outcome := self.averager.committed(self.step)) is not None:
            self.apply(outcome)
        return self.step > before

    def train(self, last_step: int) -> None:
        try:
            Trainer(
                state=self, work=self.work, averager=self.averager, last_step=last_step,
                catch_up=self.catch_up, report=self.reports.append, leaving=lambda: False,
            ).run()  # fmt: skip
        except CrashedError:
            self.crashed = True
        except BaseException as error:  # shown by `train_all`, in the thread of the test
            self.error = error
        finally:
            self.averager.close()


def train_all(peers: Mapping[str, Peer], last_step: int) -> None:
    """Each in a thread of its own, to the end."""
    torch.set_num_threads(1)
    threads = [threading.Thread(target=peer.train, args=(last_step,), daemon=True) for peer in peers.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a peer hangs"
    for peer in peers.values():
        if peer.error is not None:
            raise peer.error


def start_all(run: Run, swarm: SimulatedSwarm, samples: Mapping[str, Samples]) -> dict[str, Peer]:
    return {name: Peer(run, swarm.join(name, count)) for name, count in samples.items()}


# --- a swarm that is killed ------------------------------------------------------------------------------------------


def live(run: Run, folder: Path, last_step: int, moment: Callable[[], None]) -> dict[str, str]:
    """Train from what is in `folder`; the digest of the state of each peer at the end."""
    newest = {name: found for name in ("a", "b") if (found := latest(folder / name)) is not None}
    checkpoints = [load(path, run.signed.digest) for path in newest.values()]
    swarm = SimulatedSwarm(run.signed.manifest.averaging, run.state().layout.size, feedback=False)
    first = max(checkpoints, key=lambda one: one.state.step, default=None)
    if first is not None:
        swarm.resume(first.state.step, first.extra["roster"])
    peers = {name: Peer(run, swarm.join(name, count), moment, folder / name) for name, count in SHARES.items()}
    for peer in peers.values():  # one that was killed before it had saved takes the state of one that had
        if first is not None and peer.step < first.state.step:
            peer.state.adopt(state_from_bytes(run.signed.manifest, state_to_bytes(first.state)))
            peer.work.restart()
    train_all(peers, last_step)
    return {name: peer.state.digest() for name, peer in peers.items()}


SHARES = {"a": 5, "b": 9}


def moments(to: int, acknowledged: int) -> Callable[[], None]:
    """Called at each moment: tells the parent and goes on when it answers."""
    lock = threading.Lock()

    def moment() -> None:
        with lock:
            os.write(to, b".")
            os.read(acknowledged, 1)

    return moment


def life(run: Run, folder: Path, last_step: int, killed_at: int | None) -> int:
    """Fork a process that trains, and end it with SIGKILL at a moment; how many moments it had."""
    (told, tell), (answered, answer) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.ExitStack() as stack:
            stack.callback(os._exit, 1)
            moment = moments(tell, answered)
            sync = os.fsync
            os.fsync = lambda descriptor: (moment(), sync(descriptor))[1]
            digests = live(run, folder, last_step, moment)
            (folder / "digests.json").write_text(json.dumps(digests))
            os._exit(0)
    os.close(tell)
    os.close(answered)
    count = 0
    while os.read(told, 1):
        count += 1
        if count == killed_at:
            os.kill(child, signal.SIGKILL)
            break
        os.write(answer, b".")
    _, status = os.waitpid(child, 0)
    os.close(told)
    os.close(answer)
    wanted = -signal.SIGKILL if killed_at is not None and count == killed_at else 0
    assert os.waitstatus_to_exitcode(status) == wanted, (count, killed_at, status)
    return count


def main() -> None:
    """One JSON line: the digests of a swarm that nobody killed, and of one killed at each moment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default="none@1")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    (options.folder / "cache").mkdir(parents=True)
    run = Run.make(options.folder / "cache", codec=options.codec)
    (options.folder / "whole").mkdir()
    count = life(run, options.folder / "whole", options.steps, None)
    ends = {"whole": json.loads((options.folder / "whole" / "digests.json").read_text())}
    for moment in np.arange(1, count + 1, options.every).tolist():
        folder = options.folder / f"killed-{moment}"
        folder.mkdir()
        life(run, folder, options.steps, moment)
        life(run, folder, options.steps, None)
        ends[str(moment)] = json.loads((folder / "digests.json").read_text())
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
