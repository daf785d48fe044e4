"""Starting a dead run again: its owner takes a checkpoint that somebody has kept, vouches for it, and serves it.

Volunteers that come, new ones and old ones with older checkpoints, begin there and go on as a branch of the log, since
nobody of its last electorate is left to vote. Who has a newer checkpoint of the same log is followed instead.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from peers.run_folder import RunFolder
from peers.state.endorsements import Endorsements
from swarm.errors import ConfigError

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.run.manifest import Manifest, SignedManifest

CHECKPOINTS = "checkpoints"


class Restart:
    """Reads and checks everything. CheckpointError: no usable checkpoint of this run. IdentityError: no owner's key."""

    def __init__(self, run: Path, signed: SignedManifest, checkpoint: Path) -> None:
        from peers.commands.sign import OWNER, vouch
        from swarm.state.checkpoint import load
        from swarm.trust.identity import Identity

        self.run, self.manifest, self.checkpoint = run, signed.manifest, checkpoint
        found = load(checkpoint, expected_manifest=signed.digest)
        self.endorsement = vouch(found, signed, Identity.load(run / OWNER))

    def begin(self, network: Network) -> str:
        """Keep the checkpoint and the owner's word for it in the run's folder; what was done, in words.

        ConfigError where the run lives: it would only be torn in two.
        """
        from peers.telling.progress import read_progress

        step = self.endorsement.step
        for peer, record in read_progress(network).items():
            if record.role == "trainer" and record.step >= step and record.state not in ("leaving", "finished"):
                raise ConfigError(
                    f"the run is alive: {peer[-6:]} trains at step {record.step}, the checkpoint is of step {step}; "
                    "--from is for a run that nobody trains any more: leave it out"
                )
        take_in(self.checkpoint, self.run / CHECKPOINTS)
        RunFolder(self.run).write_reached(step)
        Endorsements(self.run, self.manifest).keep(self.endorsement)
        return f"The run goes on from step {step}: its owner vouches for that state, which is served here."


def take_in(checkpoint: Path, folder: Path) -> Path:
    """A copy of the checkpoint in `folder`, whole or not at all; where it is there already, that one."""
    from swarm.durable import sync_folder, unfinished

    target = folder / checkpoint.resolve().name
    if target.exists():
        return target
    with unfinished(folder, target.name) as making:
        shutil.copytree(checkpoint, making, dirs_exist_ok=True)
        making.rename(target)
        sync_folder(folder)
    return target


def offer_states(network: Network, manifest: Manifest, run: Path) -> None:
    """Serve the checkpoints in the run's folder, and pass on what the owner or an anchor has vouched for."""
    from peers.state.checkpoint_donor import CheckpointDonor

    if manifest.averaging.algorithm == "round":
        CheckpointDonor(network, manifest, run / CHECKPOINTS)
        Endorsements(run, manifest).serve(network)
