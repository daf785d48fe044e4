"""`bloomswarm assist LINK`: help a run with a good line and no GPU. The peer itself is in `peers/assistant.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from peers.commands.join import accept, ask


@click.command("assist", epilog="Example: bloomswarm assist 'bloomswarm:...' --listen /ip4/0.0.0.0/tcp/31337")
@click.argument("link")
@click.option("--yes", is_flag=True, help="Do not ask before joining.")
@click.option("--settings", type=click.Path(path_type=Path), help="A TOML file with any of the settings below.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="This peer's folder  [~/.bloomswarm/runs/..]")
@click.option("--steps", type=int, help="Leave after so many steps with it  [default: stay]")
@click.option("--listen", multiple=True, help="Multiaddress to listen on  [default: every interface, a free port]")
@click.option("--announce", multiple=True, help="Multiaddress to tell others, if they cannot see the one above.")
@click.option("--upload", "upload_mbit", type=float, help="Mbit/s, the most to send  [default: no cap]")
@click.option("--download", "download_mbit", type=float, help="Mbit/s, the most to receive  [default: no cap]")
@click.option("--metrics-port", type=int, help="On loopback; 0: any free one  [default: 0]")
@click.option("--no-metrics", is_flag=True, help="Serve no metrics.")
@click.option("--log-format", type=click.Choice(["plain", "json"]), help="[default: plain]")
def command(link: str, yes: bool, settings: Path | None, no_metrics: bool, **flags: Any) -> None:
    """Average for the peers of LINK's run and serve its state to newcomers; train nothing. Ctrl+C leaves."""
    from swarm.link import parse
    from swarm.settings import load_settings

    parsed = parse(link)
    for name in ("listen", "announce"):
        flags[name] = flags[name] or None
    chosen = load_settings(settings, metrics=False if no_metrics else None, **flags)
    from peers.assistant import Assistant
    from peers.stay import run_peer

    raise SystemExit(run_peer(parsed, chosen, agree=accept if yes else ask, kind=Assistant))
