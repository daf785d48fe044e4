"""`bloomswarm revoke RUN PEER_ID`: from now on nobody of the run deals with this peer. Needs the owner's key."""

from __future__ import annotations

import json
from pathlib import Path

import click

from peers.commands.invite import peer_id


@click.command(
    "revoke", epilog="Example: bloomswarm revoke my-run 12D3KooWB8WgP1kYJzXYvHmWNvxFhfmkfJxeeVzRcJjnzVyFeHkk"
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("peer", metavar="PEER_ID", callback=peer_id)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(run: Path, peer: str, as_json: bool) -> None:
    """Make void all invitations of the peer PEER_ID to the run in folder RUN, until it is invited again.

    A running seed of this folder tells the swarm: within half a minute nobody gives or takes anything from that peer,
    and the round after that is without it. What it gave before stays in the model.
    """
    from peers.owner.guest_book import Owner
    from swarm.trust.identity import friendly_name

    known = Owner(run).revoke(peer)
    if as_json:
        click.echo(json.dumps({"peer_id": peer, "was_invited": known}, sort_keys=True))
        return
    was = "" if known else " This folder knew of no invitation; if there was one, it is void."
    click.echo(f"{friendly_name(peer)} ({peer}) is revoked.{was}")
    click.echo("A seed of this folder, running or started later, tells the swarm.")
