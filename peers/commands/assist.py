"""`bloomswarm assist LINK`: help a run with a good line and no GPU. The peer is in `peers/roles/assistant.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peers.commands.join import accept, ask
from peers.commands.taking_part import chosen, taking_part
from peers.commands.terminal import loading

if TYPE_CHECKING:
    from peers.roles.assistant import Assistant


@click.command("assist", epilog="Example: bloomswarm assist 'bloomswarm:...' --listen /ip4/0.0.0.0/tcp/31337")
@click.argument("link")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="This peer's folder  [~/.bloomswarm/runs/..]")
@click.option("--steps", type=click.IntRange(1), help="Leave after so many steps with it  [default: stay]")
@taking_part
def command(link: str, yes: bool, **flags: Any) -> None:
    """Average for the peers of LINK's run and serve its state to newcomers; train nothing. Ctrl+C leaves."""
    from swarm.run.link import parse

    parsed, settings = parse(link), chosen(**flags)
    with loading():
        from peers.roles.stay import run_peer

    agree = accept if yes else partial(ask, settings=settings, trains=False)
    raise SystemExit(run_peer(parsed, settings, agree, assistant))


def assistant() -> type[Assistant]:
    from peers.roles.assistant import Assistant

    return Assistant
