"""`bloomswarm pause`: the peers of this machine compute nothing until `bloomswarm resume`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from peers.folders import PAUSED


@click.command("pause", epilog="Example: bloomswarm pause --dir my-peer")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(folder: Path | None, as_json: bool) -> None:
    """Let the peers of this machine compute nothing until `bloomswarm resume`. They stay in step with the swarm."""
    from peers.commands.status import folders, peer_status

    found = folders(folder)
    for each in found:
        (each / PAUSED).touch()
        if not as_json:
            running = "state" in peer_status(each)
            now = "pauses after what it computes now" if running else "does not run, and will be paused when it does"
            click.echo(f"{each.name}: {now}; go on with `bloomswarm resume`")
    if as_json:
        click.echo(json.dumps({"paused": [str(each) for each in found]}))
