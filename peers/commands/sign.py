"""`bloomswarm sign RUN CHECKPOINT`: the owner, or an anchor of the run, vouches for a state: peers may begin there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from peers.folders import require_checkpoint
from swarm.errors import CheckpointError, ConfigError, LinkError

if TYPE_CHECKING:
    from peers.run_folder import RunFolder
    from swarm.run.manifest import SignedManifest
    from swarm.state.checkpoint import Checkpoint
    from swarm.trust.endorsement import Endorsement
    from swarm.trust.identity import Identity

OWNER = "owner.pem"


@click.command(
    "sign",
    epilog="Examples:\n\n  bloomswarm sign my-run my-peer/checkpoints/step-00000040\n\n"
    "  bloomswarm sign my-peer my-peer/checkpoints/step-00000040 --key witness.pem",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="The owner's or an anchor's  [default: RUN/owner.pem]")
def command(run: Path, checkpoint: Path, key: Path | None) -> None:
    """Vouch for the state in the folder CHECKPOINT, after checking all of it.

    RUN is a folder with the run's manifest, the seed's or a peer's: what runs there passes the word on, and newcomers
    then begin at that state. Prints a link that pins it, for whoever wants no other history. Sign only what the swarm
    is on, or what a dead run is to be started from.
    """
    require_checkpoint(checkpoint)
    from peers.run_folder import RunFolder
    from peers.state.endorsements import Endorsements
    from swarm.state.checkpoint import load
    from swarm.trust.identity import Identity

    signed = RunFolder(run).manifest()
    identity = Identity.load(key or run / OWNER)
    found = load(checkpoint, expected_manifest=signed.digest)
    endorsement = vouch(found, signed, identity)
    path = Endorsements(run, signed.manifest).keep(endorsement)
    click.echo(f"{identity.name} vouches for step {endorsement.step}, root {endorsement.root[:16]}: {path}")
    if (link := pinned(RunFolder(run), endorsement)) is not None:
        click.echo(f"Join that history and no other:\n\n  bloomswarm join '{link}'\n")


def vouch(checkpoint: Checkpoint, signed: SignedManifest, identity: Identity) -> Endorsement:
    """The endorsement of a checkpoint that was read and checked. CheckpointError, IdentityError."""
    from swarm.averaging.live.positions import position_from_bytes
    from swarm.trust.endorsement import endorse

    place = str(checkpoint.extra.get("position", ""))
    if not place:
        raise CheckpointError(f"{checkpoint.path} says no place in the log of rounds, so nobody could go on from it")
    try:
        position = position_from_bytes(bytes.fromhex(place))
    except ValueError:
        raise CheckpointError(f"{checkpoint.path}: its place in the log is no hex; use another checkpoint") from None
    if position.round != checkpoint.state.step or position.run.hex() != signed.digest:
        raise CheckpointError(f"{checkpoint.path}: its place in the log is not that of its state; use another")
    return endorse(signed.manifest, identity, root=checkpoint.state.digest(), position=position)


def pinned(folder: RunFolder, endorsement: Endorsement) -> str | None:
    """The run's last link with this state in it, where a seed has run here."""
    from swarm.run.link import Link, parse

    try:
        link = parse(folder.link())
    except (ConfigError, LinkError):
        return None
    return str(Link(link.digest, link.peers, at=(endorsement.step, endorsement.root)))
