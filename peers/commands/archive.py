"""`bloomswarm archive LINK`: keep a run's certified checkpoints. The peer itself is in `peers/roles/archivist.py`."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peers.commands.join import accept, ask
from peers.commands.taking_part import chosen, taking_part
from peers.commands.terminal import loading

if TYPE_CHECKING:
    from peers.roles.archivist import Archive


@click.command(
    "archive",
    epilog="Examples:\n\n  bloomswarm archive 'bloomswarm:...' --dir my-archive --keep 5\n\n"
    "  bloomswarm seed my-run --from my-archive/checkpoints/step-00000040   (all peers of the run are gone)",
)
@click.argument("link")
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="Where the states are kept.")
@click.option("--keep", "keep_checkpoints", type=click.IntRange(1, 1000), default=5, show_default=True, help="Newest.")
@taking_part
def command(link: str, yes: bool, directory: Path, listen: tuple[str, ...], **flags: Any) -> None:
    """Keep the last checkpoints that the swarm of LINK certified, and older ones ever sparser, and serve them to all
    who join; train nothing. Ctrl+C leaves; the same command goes on, also when nobody else of the run is left.
    """
    from swarm.run.link import parse

    parsed = parse(link)
    settings = chosen(directory=directory, listen=listen or usual_place(directory), **flags)
    with loading():
        from peers.roles.stay import run_peer

    agree = accept if yes else partial(ask, settings=settings, trains=False)
    raise SystemExit(run_peer(parsed, settings, agree, archivist, first=True))  # a run may begin again from it


def archivist() -> type[Archive]:
    from peers.roles.archivist import Archive

    return Archive


def usual_place(folder: Path) -> tuple[str, ...] | None:
    """The port of this archive's last link, while it is free, so that the link stays good."""
    from peers.run_folder import RunFolder

    port = RunFolder(folder).last_port()
    if port is None:
        return None
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("0.0.0.0", port))
        except OSError:
            return None
    return (f"/ip4/0.0.0.0/tcp/{port}",)
