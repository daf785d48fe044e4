"""`bloomswarm monitor LINK`: watch a run without taking part: metrics, the health page, the JSON behind it.

An observer: it dials out, stores nothing for others, and tells the swarm only that it is here. What it knows comes from
the peers' signed records. It outlives an empty swarm, and its own restarts: the curve is kept in its folder.
"""

from __future__ import annotations

from pathlib import Path

import click

from peers.commands.taking_part import FORMAT, JSON

PORT = 9465


@click.command(
    "monitor",
    epilog="Examples:\n\n  bloomswarm monitor 'bloomswarm:3fa2...?peer=/ip4/...'\n\n"
    "  bloomswarm monitor LINK --port 9465 --public-host 0.0.0.0",
)
@click.argument("link")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="0: any free one.")
@click.option("--public-host", help="Serve on this address too, for everybody who can reach it  [default: 127.0.0.1]")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the curve is kept  [~/.bloomswarm/..]")
@click.option("--no-probe", is_flag=True, help="Do not dial peers from outside.")
@click.option("--probe-private", is_flag=True, help="Dial private and loopback addresses too.")
@JSON
@FORMAT
def command(
    link: str,
    port: int,
    public_host: str | None,
    folder: Path | None,
    no_probe: bool,
    probe_private: bool,
    as_json: bool,
    log_format: str | None,
) -> None:
    """Watch the run of LINK until Ctrl+C: a page for people, /metrics for Prometheus, /api/v1 for programs."""
    from swarm.network.lean import import_lean

    import_lean()
    from peers.folders import run_folder
    from peers.lifecycle import Leave
    from peers.roles.observer import Observer
    from peers.telling.events import Events
    from swarm.run.link import parse

    parsed = parse(link)
    folder = folder or run_folder(parsed.digest) / "monitor"
    folder.mkdir(parents=True, exist_ok=True)
    with Leave() as leave:
        events = Events("json" if as_json else log_format or "plain", folder)
        with events.with_warnings():
            observer = Observer(parsed, folder, events, leave)
            observer.run(port, public_host or "127.0.0.1", probe=not no_probe, private=probe_private)
