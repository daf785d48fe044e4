"""A real training peer that is alone, step by step: what `benchmarks.step` measures and a test compares promises with.

Its daemon, plan, 8-bit rounds, shared update and trainer's loop are the product's, put together by `peers/wiring.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.resident import peak_bytes, reset_peak, resident_bytes
from benchmarks.text import Text, create

if TYPE_CHECKING:
    from peers.training.trainer import StepReport
    from swarm.averaging.averager import Contribution, Outcome


@contextmanager
def made(model: dict[str, int], mode: str, batch: int, micro_batch: int, *, overlap: bool = True) -> Iterator[Text]:
    """A run on the starter corpus, and everything imported. batch: samples between two rounds."""
    import bitsandbytes  # noqa: F401
    import torch

    import peers.wiring  # noqa: F401
    from swarm.heap import keep_freed_memory

    keep_freed_memory()  # as every peer does at its start
    torch.set_num_threads(1)
    local = {"inner_batch": micro_batch, "inner_steps": max(1, batch // micro_batch), "overlap": overlap}
    training = {"mode": mode, "steps": 1_000_000, "global_batch": batch, "checkpoint_every": 64, "local": local}
    with tempfile.TemporaryDirectory() as folder:
        text = Text(Path(folder) / "run", None)
        create(text.folder, None, 0, {"name": "step", "model": model, "training": training})
        yield text


class LonePeer:
    """A training peer as `peers/wiring.py` builds it, without terminal and records. Use as a context manager.

    `last`: what its last turn did.
    """

    last: StepReport

    def __init__(self, text: Text, micro_batch: int, optimizer: str = "adamw") -> None:
        self.text, self.manifest = text, text.manifest
        self.settings = {"micro_batch": micro_batch, "inner_optimizer": optimizer, "threads": 1}
        self.resources = ExitStack()

    def __enter__(self) -> LonePeer:
        from peers.training.trainer import Trainer
        from peers.wiring import averager, work
        from swarm.model.bloom import starting_vector
        from swarm.network.host import Network
        from swarm.settings import Settings
        from swarm.state.shared import SharedState
        from swarm.trust.identity import Identity

        identity, digest = Identity.generate(), self.manifest.digest
        network = self.resources.enter_context(Network(identity, digest, listen=("/ip4/127.0.0.1/tcp/0",)))
        self.state = SharedState.initial(self.manifest, starting_vector(self.manifest.model))
        rounds = averager(
            self.manifest, network, self.state, dict, folder=self.text.folder, checkpoint=None, settings=Settings()
        )
        self.resources.callback(rounds.close)
        batches = self.text.batches(network.peer_id, self.manifest.training.global_batch)
        training = work(
            self.manifest,
            self.state,
            batches,
            Settings(**self.settings),
            tell=lambda samples: None,
            leaving=bool,
            say=lambda words: None,
        )
        calls = {"catch_up": lambda missed: False, "report": self._report, "leaving": bool}
        self.work, self.rounds = training, Weighed(rounds)
        self.trainer = partial(Trainer, self.state, training, self.rounds, **calls)
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()

    def _report(self, report: StepReport) -> None:
        from swarm.averaging.averager import Averaged

        assert isinstance(report.outcome, Averaged), report.outcome
        self.last = report

    def optimizer_bytes(self) -> int:
        """Of the shared state's moments and momentum, and of the inner optimizer's."""
        inner = getattr(self.work, "inner", None)
        own = inner.memory_bytes() if inner is not None else 0
        return own + sum(vector.nbytes for vector in self.state.vectors[1:])

    def averaging_bytes(self) -> int:
        """Of the residuals, and the most that a round took beside them."""
        arithmetic = self.rounds.averager.driver.arithmetic
        return arithmetic.sent.memory_bytes + arithmetic.owed.memory_bytes + self.rounds.grown

    def peak_before_round(self) -> int:
        """The turn's peak until its round, whose measuring has reset it."""
        return self.rounds.before_round

    def turn(self, batch: int) -> int:
        """One step of the trainer's loop, due after `batch` samples; how many its round counted."""
        before = self.state.samples
        self.trainer(last_step=self.state.step + 1).run()
        return self.state.samples - before


class Weighed:
    """An averager; while it is `weighing`, the memory of its rounds is measured.

    That collects garbage first, which takes some tenths of a second: not for a round whose time is measured.
    """

    def __init__(self, averager: Any) -> None:
        self.averager, self.weighing = averager, False
        self.grown, self.before_round = 0, 0
        self.due, self.roster = averager.due, averager.roster

    def average(self, step: int, contribution: Contribution) -> Outcome:
        if not self.weighing:
            return self.averager.average(step, contribution)
        self.before_round, before = peak_bytes(), resident_bytes()
        reset_peak()
        outcome = self.averager.average(step, contribution)
        self.grown = peak_bytes() - before
        return outcome
