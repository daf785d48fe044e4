"""`bloomswarm resume`: the paused peers of this machine train again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from peers.folders import PAUSED


@click.command("resume", epilog="Example: bloomswarm resume --dir my-peer")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(folder: Path | None, as_json: bool) -> None:
    """Let the paused peers of this machine train again."""
    from peers.commands.status import folders, peer_status

    resumed: list[str] = []
    for each in folders(folder):
        paused = (each / PAUSED).exists()
        (each / PAUSED).unlink(missing_ok=True)
        resumed += [str(each)] if paused else []
        if not as_json:
            goes_on = "goes on" if "state" in peer_status(each) else "is not paused any more, and does not run"
            click.echo(f"{each.name}: {goes_on if paused else 'was not paused'}")
    if as_json:
        click.echo(json.dumps({"resumed": resumed}))
