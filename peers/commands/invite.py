"""`bloomswarm invite RUN PEER_ID`: let a peer take part in a run that is not open. Needs the owner's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


def peer_id(context: click.Context, parameter: click.Parameter, value: str) -> str:
    from swarm.trust.peer_id import public_key_of

    if public_key_of(value) is None:
        raise click.BadParameter("not a peer id; `join` says it where it is refused, and `bloomswarm identity show`")
    return value


@click.command(
    "invite",
    epilog="Example: bloomswarm invite my-run 12D3KooWB8WgP1kYJzXYvHmWNvxFhfmkfJxeeVzRcJjnzVyFeHkk --days 90",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("peer", metavar="PEER_ID", callback=peer_id)
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How long it is good for.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(run: Path, peer: str, days: int, as_json: bool) -> None:
    """Invite the peer PEER_ID to the run in folder RUN. A seed of this folder hands it the invitation by itself."""
    from peers.owner.guest_book import Owner
    from peers.owner.membership import day
    from swarm.trust.identity import friendly_name

    owner = Owner(run)
    made = owner.invite(peer, days)
    link = personal_link(run, made.to_bytes().hex())
    if as_json:
        told: dict[str, Any] = {"peer_id": peer, "not_after": made.not_after, "serial": made.serial}
        click.echo(json.dumps({**told, "invitation": made.to_bytes().hex(), "link": link}, sort_keys=True))
        return
    click.echo(f"{friendly_name(peer)} ({peer}) is invited until {day(made.not_after)}.")
    click.echo(
        "A seed of this folder, running or started later, hands the invitation over; any link of the run will do."
    )
    if link is not None:
        click.echo(f"Where no such seed runs, this link carries it:\n\n  bloomswarm join '{link}'\n")


def personal_link(run: Path, invitation: str) -> str | None:
    """The link of the last seed with the invitation in it."""
    from dataclasses import replace

    from peers.run_folder import RunFolder
    from swarm.errors import ConfigError
    from swarm.run.link import parse

    try:
        return str(replace(parse(RunFolder(run).link()), invitation=invitation))
    except ConfigError:  # no seed has run here yet
        return None
