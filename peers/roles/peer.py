"""One training peer: train to the run's end or until told to leave, and leave nothing undone.

Its life as a process is in `peers/roles/stay.py`. What an assistant (`peers/roles/assistant.py`) does otherwise stands
in methods of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers.commands.terminal import passing
from peers.finding.acquaintances import Acquaintances
from peers.finding.company import Company
from peers.known import require_known
from peers.lifecycle import Leave
from peers.owner.versions import Versions
from peers.run_folder import RunFolder
from peers.state.catching_up import catching_up
from peers.state.checkpoints import Checkpoints
from peers.state.endorsements import endorsed_state
from peers.state.pin import require_computed
from peers.telling.events import Events
from peers.telling.farewell import farewell, linger
from peers.telling.progress import Progress, enough
from peers.telling.reporter import Reporter
from peers.training.pausing import Pausing, is_paused
from peers.training.trainer import StepReport, Trainer
from peers.wiring import averager, evaluator, reading, starting_state, work
from swarm.averaging.averager import Averaged
from swarm.network.host import Network
from swarm.run.link import Link
from swarm.settings import Settings
from swarm.state.chronicle import Chronicler
from swarm.state.state_file import state_to_bytes
from swarm.trust.identity import friendly_name

if TYPE_CHECKING:
    from peers.finding.ending import Ending
    from peers.training.evaluator import Evaluator
    from swarm.run.manifest import Manifest, SignedManifest

WAIT_SECONDS = 0.1


class Peer:
    """The training of one peer. Use as a context manager."""

    role = "trainer"

    def __init__(
        self,
        network: Network,
        signed: SignedManifest,
        tokenizer: bytes,
        settings: Settings,
        *,
        folder: Path,
        events: Events,
        leave: Leave,
    ) -> None:
        self.network, self.signed, self.tokenizer, self.settings = network, signed, tokenizer, settings
        self.manifest = signed.manifest
        self.folder, self.events, self.leave = folder, events, leave
        self.checkpoints = folder / "checkpoints"
        self.acquaintances = Acquaintances(folder / "peers.json")
        self.pin = RunFolder(folder).pin()
        self.lock = threading.Lock()  # held while the state changes, and while it is copied for a newcomer
        self.resources = ExitStack()
        self.took_part = 0  # in so many rounds
        self.last_wanted: int | None = None  # the step at which the volunteer wants to leave, once it is known

    def __enter__(self) -> Peer:
        require_known(self.manifest)
        addresses = tuple(self.network.addresses())[:8]
        company = Company(self.network, self.acquaintances, self.leave, say=self.say, skewed=self.skewed)
        self.progress = self.resources.enter_context(
            Progress(self.network, self.role, lonely=company.look, found=company.found, twin=company.twin)
        )
        self.progress.tell(step=0, state="assembling", addresses=addresses)
        self.reporter = self.resources.enter_context(
            Reporter(
                self.signed,
                self.settings,
                self.network,
                self.progress,
                self.events,
                self.folder,
                link=str(Link(self.signed.digest, addresses or self.network.initial_peers[:8])),
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()

    @classmethod
    def late(cls, over: Ending) -> Callable[..., Peer]:
        """Who takes its place where the run has ended. EndedError where nothing is left to do."""
        from peers.roles.latecomer import Latecomer

        over.require_kept()
        return partial(Latecomer, over=over)

    def run(self, wait_for: int) -> bool:
        """Train. True where this peer got as far as it should, False where it was told to leave before."""
        self.reporter.state("assembling")
        self.versions = Versions(self.folder, self.manifest, self.network, self.say)
        self.versions.begin(self.progress.records())
        with ThreadPoolExecutor(1, "endorsement") as beside:  # it takes as long as the slowest peer's answer
            vouched = beside.submit(endorsed_state, self.folder, self.manifest, self.network, self.progress.records())
            self.batches = self.text()
            self.state, checkpoint = starting_state(self.checkpoints, self.signed, self.say)
        endorsed = vouched.result()
        if endorsed is not None and endorsed.step > self.state.step:
            self.say(f"{friendly_name(endorsed.signer)} vouches for the state of step {endorsed.step}.")
        if checkpoint is not None:
            if checkpoint.cursor:  # an assistant that has never read text has none
                self.batches.restore(checkpoint.cursor)
            self.say(f"Going on from step {self.state.step}.")
        self.averager = averager(
            self.manifest,
            self.network,
            self.state,
            self.progress.members,
            folder=self.folder,
            checkpoint=checkpoint,
            endorsed=endorsed,
            settings=self.settings,
        )
        self.resources.callback(self.averager.close)
        self.leave.on_leave = self.averager.close
        self.chronicler = Chronicler(checkpoint.extra.get("chronicle") if checkpoint else None, self.state.step)
        self.saving = Checkpoints(
            self.checkpoints,
            self.signed,
            self.tokenizer,
            state=self.state,
            cursor=self.batches.cursor,
            averager=self.averager,
            chronicler=self.chronicler,
            keep=self.settings.keep_checkpoints,
            reporter=self.reporter,
        )
        self.evaluator = self.evaluating()
        self.work = self.making()
        self.catch_up = catching_up(self)
        self.wait_for(wait_for)
        self.train()
        return self.end()

    def text(self) -> Any:
        """What this peer reads, and where it is in it."""
        if self.settings.private:
            self.say("Reading this peer's own text ...")
            return self.opened(self.manifest)
        self.say(f"Reading the run's text in {len(self.manifest.data.stock)} languages ...")
        batches = self.versions.batches(self.opened)
        batches.prepare(self.versions.number(0))
        return batches

    def opened(self, version: Manifest) -> Any:
        """The text of one version of the run."""
        peer_id, folder = self.network.peer_id, self.folder
        with passing() as show:
            return reading(version, self.tokenizer, self.settings, peer_id=peer_id, folder=folder, say=show)

    def making(self) -> Any:
        """What makes this peer's contributions."""
        made = work(
            self.manifest,
            self.state,
            self.batches,
            self.settings,
            tell=self.tell,
            leaving=lambda: bool(self.leave) or is_paused(self.folder),
            say=self.say,
            folder=self.folder,
        )
        certified = self.manifest.averaging.algorithm == "round"
        asked = self.averager.asked if certified else lambda step: False  # with hivemind's it comes back by the state
        return Pausing(made, self.folder, asked=asked, leaving=self.leave.event, say=self.reporter.paused)

    def evaluating(self) -> Evaluator | None:
        """Who measures held-out text, when it is this peer's turn."""
        made = evaluator(
            self.signed,
            self.tokenizer,
            self.settings,
            version_at=self.versions.at,
            peer_id=self.network.peer_id,
            told=self.reporter.validated,
            say=self.say,
            resting=lambda: bool(self.leave) or is_paused(self.folder),
        )
        self.resources.callback(made.close)
        return made

    def wait_for(self, peers: int) -> None:
        """Until so many are ready, this one included, or until the run has begun without us."""
        self.progress.tell(step=self.state.step)
        self.reporter.state("waiting")
        while not enough(self.progress.trainers(), peers, self.state.step) and not self.leave:
            self.leave.event.wait(WAIT_SECONDS)

    def train(self) -> None:
        if self.catch_up.at_start(self.progress.trainers()):
            self.work.restart()
        self.last_step = self.end_of(self.versions.at(self.state.step))
        self.reporter.state("training")
        self.trainer = Trainer(
            state=self,
            work=self.work,
            averager=self.averager,
            last_step=self.last_step,
            catch_up=self.catch_up,
            report=self.report,
            leaving=lambda: bool(self.leave),
            averaging=self.reporter.averaging,
            applied=self.applied,
        )
        self.follow()
        self.trainer.run()

    def end_of(self, version: Manifest) -> int:
        """The step at which this peer is done."""
        steps = version.training.steps
        return steps if self.last_wanted is None else min(steps, self.last_wanted)

    def follow(self) -> None:
        """The version of the run that counts from this step on, where it is a new one."""
        if (version := self.versions.new_at(self.state.step)) is not None:
            self.averager.amend(version.training)
            self.work.amend(version.training)
            self.reporter.amend(version)
            self.trainer.last_step = self.last_step = self.end_of(version)
            self.say(f"From step {self.state.step:,} on amendment {self.versions.counted} counts.")
        self.progress.tell(amendments=self.versions.known)
        self.versions.look(self.progress.records())

    def end(self) -> bool:
        """The last checkpoint, help for those who are not there yet, and the farewell."""
        finished = self.state.step >= self.last_step
        self.reporter.state("finished" if finished else "leaving")
        path = self.saving.last(finished)
        if finished:
            linger(self.progress, self.last_step, self.leave)
        farewell(self.reporter, finished, path, self.state)
        return finished

    def report(self, report: StepReport) -> None:
        """After each turn of the trainer's loop."""
        self.follow()
        if self.manifest.averaging.algorithm == "round":
            self.reporter.figures(self.averager.figures)
        self.chronicler.look(self.progress.records())
        self.reporter.step(report, self.work, self.batches)

    def say(self, words: str) -> None:
        self.events("note", words)

    def skewed(self, seconds: float | None) -> None:
        self.reporter.clock.look(seconds)

    def tell(self, samples: int) -> None:
        """After each micro-batch."""
        self.progress.tell(step=self.state.step, samples=samples)

    # --- the shared state, as the trainer sees it -------------------------------------------------------------------

    @property
    def step(self) -> int:
        return self.state.step

    def apply(self, outcome: Averaged) -> None:
        """The shared update."""
        self.versions.schedule(self.state)
        with self.lock:
            self.state.apply(outcome)
        require_computed(self.pin, self.state)

    def applied(self, outcome: Averaged) -> None:
        """Everything that watches the state, and a checkpoint where one is due."""
        self.chronicler.round(outcome)
        if self.evaluator is not None:
            self.evaluator.consider(self.state, [member.peer_id for member in outcome.roster if member.samples])
        self.acquaintances.remember(self.progress.records(), self.network.peer_id)
        self.took_part += any(member.peer_id == self.network.peer_id for member in outcome.roster)
        if self.took_part == self.settings.steps:  # those that it only caught up with do not count
            self.last_wanted = self.state.step
            self.last_step = self.trainer.last_step = self.end_of(self.versions.at(self.state.step))
        self.saving.due(self.last_step)

    def snapshot(self) -> tuple[int, bytes]:
        with self.lock:
            return self.state.step, state_to_bytes(self.state)
