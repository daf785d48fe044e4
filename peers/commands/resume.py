"""`bloomswarm resume`: the paused peers of this machine train again."""

from __future__ import annotations

from pathlib import Path

import click

from peers.folders import PAUSED


@click.command("resume", epilog="Example: bloomswarm resume --dir my-peer")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
def command(folder: Path | None) -> None:
    """Let the paused peers of this machine train again."""
    from peers.commands.status import folders

    for each in folders(folder):
        paused = (each / PAUSED).exists()
        (each / PAUSED).unlink(missing_ok=True)
        click.echo(f"{each.name}: {'goes on' if paused else 'was not paused'}")
