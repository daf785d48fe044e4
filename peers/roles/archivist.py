"""A peer that keeps the run's past: the checkpoints that the swarm certified, and the log that proves them.

To the round it is an assistant: it follows every round, gives nothing, and carries its share of the spans. That burdens
the swarm less than an onlooker who fetches each state (1 byte a value a round against 12 every `checkpoint_every`), and
when all others are gone it stands at the swarm's last step itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers.roles.assistant import Assistant, Help
from peers.run_folder import RunFolder
from peers.state.retention import kept, most
from swarm.averaging.averager import Averaged
from swarm.durable import remove
from swarm.errors import IncompatibleError, NetworkError, ResourceError
from swarm.run.link import Link
from swarm.run.sizing import parameters, show_bytes
from swarm.state.checkpoint import record_of, saved
from swarm.state.state_file import file_size

BESIDE = 2  # states on disk besides those kept: one that is being written, one that is being fetched
if TYPE_CHECKING:
    from peers.finding.ending import Ending

RESIDUAL_BYTES = 2  # a value, beside a state


class Follow(Help):
    """Work that gives nothing. A state that was fetched is certified: it is kept at once."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def restart(self) -> None:
        self.archive.keep_fetched()


class Archive(Assistant):
    """`settings.keep_checkpoints` is how many of the newest it keeps; `peers/state/retention.py` says what else."""

    role = "archive"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.newest = self.settings.keep_checkpoints
        self.settings = self.settings.model_copy(update={"keep_checkpoints": 10_000})  # thinned here
        self.proven: set[int] = set()  # steps whose state here is the one that a later round certified

    def __enter__(self) -> Archive:
        self.require_room()
        super().__enter__()
        self.door()
        return self

    @classmethod
    def late(cls, over: Ending) -> Callable[..., Archive]:
        """It fetches the final state and gives it to those who come later."""
        over.require_kept()
        return cls

    def require_fit(self) -> None:
        """Also behind a strict NAT: it then carries no spans, and others take states over the ways it opens."""
        if self.manifest.averaging.algorithm != "round":
            words = f"this run averages by {self.manifest.averaging.algorithm}, which certifies no checkpoints"
            raise IncompatibleError(f"{words}; keep those of a peer that trains")

    def require_room(self) -> None:
        """Say how much disk this may take in the end; ResourceError where there is not so much."""
        training, newest = self.manifest.training, self.newest
        count = most(training.steps, newest, training.checkpoint_every)
        size = file_size(self.manifest) + RESIDUAL_BYTES * parameters(self.manifest.model)
        held = saved(self.checkpoints)
        bound, free = (count + BESIDE) * size, shutil.disk_usage(self.folder).free + len(held) * size
        if free < bound:
            fits = newest - -((free - bound) // size)
            remedy = f"--keep {fits}, or" if fits >= 1 else "free some space, or"
            what = f"the archive takes up to {show_bytes(bound)}, {show_bytes(free)} are free in {self.folder}"
            raise ResourceError(f"{what}; {remedy} another --dir")
        self.say(
            f"Keeping at most {count} states of {show_bytes(size)} in {self.folder}: the newest {newest} and one for "
            f"each power of ten behind them; with what is under way {show_bytes(bound)}, and the log of rounds."
        )

    def door(self) -> None:
        """Whoever has this link can join by it, also when nobody else is left."""
        link = str(Link(self.signed.digest, tuple(self.network.addresses())[:8]))
        RunFolder(self.folder).write_link(link)
        words = f"Archiving {self.manifest.name}. Others can join by it:\n\n  bloomswarm join '{link}'\n"
        self.events("archiving", words, link=link)

    def making(self) -> Follow:
        return Follow(self)

    def applied(self, outcome: Averaged) -> None:
        super().applied(outcome)
        self.thin()
        self.prove()

    def wait_for(self, peers: int) -> None:
        """For nobody, where the run has ended."""
        if self.state.step < self.end_of(self.versions.at(self.state.step)):
            super().wait_for(peers)

    def end(self) -> bool:
        """The run is over, its states are not: whoever comes later has them from here, until this peer is to leave."""
        if not self.leave:
            self.progress.tell(step=self.state.step)
            self.saving.last(True)
            self.thin()
            self.reporter.state("finished")
            step = self.state.step
            words = f"The run has ended at step {step:,}. Its final checkpoint is served from here until Ctrl+C."
            self.events("ended", words, step=step, checkpoint=str(saved(self.checkpoints)[0]))
            self.leave.event.wait()
        return super().end()

    def keep_fetched(self) -> None:
        self.saving.due(self.last_step)
        self.thin()

    def thin(self) -> None:
        held = {int(path.name[5:]): path for path in saved(self.checkpoints)}
        for step in held.keys() - kept(held, self.newest, self.manifest.training.checkpoint_every):
            remove(held[step])

    def prove(self) -> None:
        """Compare the newest with what the swarm has certified since; what differs is none of the run's states."""
        fresh = {int(path.name[5:]): path for path in saved(self.checkpoints)[:BESIDE]}
        for step in [step for step in fresh if step % self.manifest.training.checkpoint_every or step in self.proven]:
            del fresh[step]
        if not fresh:
            return
        try:
            certified = {each.step: each.root.hex() for each in self.averager.wanted()}
        except NetworkError:
            return  # the daemon is being started again, or this peer leaves: after a later round
        for step in fresh.keys() & certified.keys():
            self.proven.add(step)
            self.settle(step, fresh[step], certified[step])

    def settle(self, step: int, path: Path, root: str) -> None:
        if record_of(path).state == root:
            self.events("kept", f"Kept the state of step {step}: certified.", step=step, root=root)
        else:
            remove(path)
            self.say(f"The state of step {step} is not the one that the swarm certified: not kept.")
