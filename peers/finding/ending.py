"""Has the run ended? Then nobody is left to train with, and what remains to be had is its final checkpoint.

A progress record is a hint that anybody can write. That a run is over is believed of the link's own doors only, which
whoever runs the run has named, and only while nobody trains: it keeps newcomers from beginning again at step 0, alone.
What is fetched then is certified as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import EndedError

if TYPE_CHECKING:
    from swarm.records import ProgressRecord
    from swarm.run.link import Link

TELLERS = ("seed", "archive")  # these stay when a run is over
TRAINING = ("training", "averaging", "paused", "alone")
ASK = "ask its owner, or somebody who took part, for the final checkpoint"


@dataclass(frozen=True)
class Ending:
    """keepers: peers that say they hold the final state."""

    step: int
    keepers: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"the run has ended at step {self.step:,}"

    @property
    def outlook(self) -> str:
        """What is left to do for who comes now."""
        count = len(self.keepers)
        if not count:
            return f"nobody who is here keeps its final checkpoint: {ASK}"
        return (
            f"its final checkpoint can be had of {count} peer{'s' if count > 1 else ''}: `bloomswarm join` fetches it"
        )

    def require_kept(self) -> None:
        """EndedError where nobody has anything for who comes now."""
        if not self.keepers:
            raise EndedError(f"{self.words}, and {self.outlook}")

    def held_in(self, checkpoints: Path) -> Path | None:
        """The final checkpoint, where this folder has it."""
        path = checkpoints / f"step-{self.step:08d}"
        return path if path.is_dir() else None


def ending(link: Link, records: Mapping[str, ProgressRecord]) -> Ending | None:
    """None while the run goes on, as far as its doors know. records: of everybody who is here."""
    doors = {address.rpartition("/p2p/")[2] for address in link.peers}
    told = [record for peer, record in records.items() if peer in doors and record.role in TELLERS]
    step = max((record.step for record in told if record.state == "finished"), default=None)
    trainers = [record for record in records.values() if record.role == "trainer" and record.state in TRAINING]
    if not step or any(record.step < step for record in trainers):
        return None
    return Ending(step, tuple(peer for peer, record in records.items() if keeps(record, step)))


def keeps(record: ProgressRecord, step: int) -> bool:
    """Does this peer say that it holds the state of `step`?"""
    follows = record.role not in TELLERS[:1] + ("monitor",) and record.state != "leaving"
    return (follows and record.step >= step) or record.checkpoint_step == step
