"""`bloomswarm pause`: the peers of this machine compute nothing until `bloomswarm resume`."""

from __future__ import annotations

from pathlib import Path

import click

from peers.folders import PAUSED


@click.command("pause", epilog="Example: bloomswarm pause --dir my-peer")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
def command(folder: Path | None) -> None:
    """Let the peers of this machine compute nothing until `bloomswarm resume`. They stay in step with the swarm."""
    from peers.commands.status import folders

    for each in folders(folder):
        (each / PAUSED).touch()
        click.echo(f"{each.name}: pauses after what it computes now; go on with `bloomswarm resume`")
