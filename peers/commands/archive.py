"""`bloomswarm archive LINK`: keep a run's certified checkpoints. The peer itself is in `peers/archivist.py`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import click

from peers.commands.join import accept, ask


@click.command(
    "archive",
    epilog="Examples:\n\n  bloomswarm archive 'bloomswarm:...' --dir my-archive --keep 5\n\n"
    "  bloomswarm seed my-run --from my-archive/checkpoints/step-00000040   (all peers of the run are gone)",
)
@click.argument("link")
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="Where the states are kept.")
@click.option("--keep", "keep_checkpoints", type=click.IntRange(1, 1000), default=5, show_default=True, help="Newest.")
@click.option("--yes", is_flag=True, help="Do not ask before joining.")
@click.option("--settings", type=click.Path(path_type=Path), help="A TOML file with any of the settings below.")
@click.option("--listen", multiple=True, help="Multiaddress to listen on  [default: every interface, the last port]")
@click.option("--announce", multiple=True, help="Multiaddress to tell others, if they cannot see the one above.")
@click.option("--upload", "upload_mbit", type=float, help="Mbit/s, the most to send  [default: no cap]")
@click.option("--download", "download_mbit", type=float, help="Mbit/s, the most to receive  [default: no cap]")
@click.option("--metrics-port", type=int, help="On loopback; 0: any free one  [default: 0]")
@click.option("--no-metrics", is_flag=True, help="Serve no metrics.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines (--log-format json).")
@click.option("--log-format", type=click.Choice(["plain", "json"]), help="[default: plain]")
def command(
    link: str, yes: bool, settings: Path | None, no_metrics: bool, as_json: bool, directory: Path, **flags: Any
) -> None:
    """Keep the last checkpoints that the swarm of LINK certified, and older ones ever sparser, and serve them to all
    who join; train nothing. Ctrl+C leaves; the same command goes on, also when nobody else of the run is left.
    """
    from swarm.link import parse
    from swarm.settings import load_settings

    parsed = parse(link)
    for name in ("listen", "announce"):
        flags[name] = flags[name] or None
    flags["listen"] = flags["listen"] or usual_place(directory)
    flags["log_format"] = "json" if as_json else flags["log_format"]
    chosen = load_settings(settings, metrics=False if no_metrics else None, directory=directory, **flags)
    from peers.archivist import Archive
    from peers.stay import run_peer

    raise SystemExit(run_peer(parsed, chosen, agree=accept if yes else ask, kind=Archive))


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
