"""What a peer starts its rounds from: where its state is in the log, and who else is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarm.averaging.live.caller import Alive
from swarm.averaging.live.kept import Keeper
from swarm.averaging.round.certificate import Position, genesis
from swarm.run.manifest import Manifest


@dataclass(frozen=True)
class Start:
    """Where this peer's state is in the log: genesis, or as a checkpoint has it, with the checkpoint's residuals.

    folder: for the log, the history of means, and proofs; None keeps them in memory (tests). root: of the state there,
    where it is believed (`swarm.trust.endorsement`) and not held yet: it, or a later one, is fetched first. keeper:
    of what this peer gives.
    """

    position: Position
    folder: Path | None = None
    residuals: Path | None = None
    root: bytes | None = None
    keeper: Keeper | None = None

    @staticmethod
    def genesis(manifest: Manifest, folder: Path | None = None) -> Start:
        return Start(genesis(bytes.fromhex(manifest.digest)), folder)


@dataclass(frozen=True)
class Surroundings:
    """alive: records of all that take part in rounds. wait_for: so many must live before the first round of a run.

    bandwidth: bits a second upwards, 0 if unknown.
    """

    alive: Alive
    wait_for: int = 1
    bandwidth: float = 0.0
