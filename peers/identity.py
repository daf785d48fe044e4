"""`bloomswarm identity`: the key that this machine signs with."""

from __future__ import annotations

import json
from pathlib import Path

import click

from peers.folders import home


@click.group("identity")
def command() -> None:
    """The Ed25519 key that is this peer's name in every run it joins."""


@command.command("show", epilog="Example: bloomswarm identity show --json")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's or run's folder  [default: your own]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(folder: Path | None, as_json: bool) -> None:
    """Print the peer id and its friendly name; never the secret key."""
    from swarm.identity import Identity, friendly_name

    path = (folder or home()) / "identity.pem"
    identity = Identity.load(path)
    values = {"peer_id": identity.peer_id, "name": friendly_name(identity.peer_id), "file": str(path)}
    if as_json:
        click.echo(json.dumps(values, sort_keys=True))
    else:
        for key, value in values.items():
            click.echo(f"{key:8} {value}")
