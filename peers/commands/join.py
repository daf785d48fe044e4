"""`bloomswarm join LINK`: take part in a run. The command line; the training peer itself is `peers/roles/peer.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peers.commands.taking_part import chosen, taking_part
from peers.commands.terminal import loading
from swarm.errors import ConfigError

if TYPE_CHECKING:
    from peers.finding.arrival import Agree
    from peers.roles.peer import Peer
    from swarm.network.host import Network
    from swarm.run.link import Link
    from swarm.run.manifest import SignedManifest
    from swarm.settings import Settings


@click.command(
    "join",
    epilog="Examples:\n\n  bloomswarm join 'bloomswarm:3fa2...?peer=/ip4/...'\n\n"
    "  bloomswarm join LINK --yes --dir my-peer --device cuda",
)
@click.argument("link")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="This peer's folder  [~/.bloomswarm/runs/..]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Where the run's text is on this machine, if it is local."
)
@click.option("--private", is_flag=True, default=None, help="--data is your own text: it never leaves your disk.")
@click.option("--cache", type=click.Path(path_type=Path), help="Where tokenised text is kept  [~/.bloomswarm/cache]")
@click.option("--steps", type=click.IntRange(1), help="Leave after so many steps with it  [default: stay]")
@click.option("--device", help="auto, cpu, cuda, cuda:1, mps  [default: auto]")
@click.option(
    "--micro-batch", type=click.IntRange(1, 65_536), help="Sequences computed at once  [default: what suits the run]"
)
@click.option(
    "--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), help="Of products  [default: auto]"
)
@click.option("--gradient-checkpointing", is_flag=True, default=None, help="Less memory, about a third more time.")
@click.option("--compile", type=click.Choice(["auto", "on", "off"]), help="torch.compile  [default: auto, if faster]")
@click.option("--inner-optimizer", type=click.Choice(["adamw", "adamw-8bit"]), help="Of local runs  [default: adamw]")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads  [default: torch's choice]")
@click.option("--client", is_flag=True, default=None, help="Accept no connections (behind a strict NAT).")
@click.option("--wait-for", type=click.IntRange(1, 1000), default=1, help="Peers to wait for before the first step.")
@taking_part
def command(link: str, yes: bool, wait_for: int, **flags: Any) -> None:
    """Train with the run of LINK until it ends or you press Ctrl+C."""
    from swarm.run.link import parse

    parsed, settings = parse(link), chosen(**flags)
    with loading():
        if settings.device != "auto":
            from peers.training.device import choose_device

            choose_device(settings.device, click.echo)  # what cannot be had is said before anything is joined
        from peers.roles.stay import run_peer

    agree = partial(suit, settings=settings, agree=accept if yes else partial(ask, settings=settings))
    raise SystemExit(run_peer(parsed, settings, agree, trainer, wait_for=wait_for))


def trainer() -> type[Peer]:
    from peers.roles.peer import Peer

    return Peer


def suit(signed: SignedManifest, network: Network, link: Link, *, settings: Settings, agree: Agree) -> None:
    """Nobody is asked to join a run for which there is no text."""
    from peers.wiring import require_text

    require_text(signed.manifest, settings)
    agree(signed, network, link)


def accept(signed: SignedManifest, network: Network, link: Link) -> None:
    """--yes: nobody is asked."""


def ask(signed: SignedManifest, network: Network, link: Link, *, settings: Settings, trains: bool = True) -> None:
    """Show what the run is and takes, and ask; ConfigError when the answer is no or nobody can answer."""
    click.echo(describe(signed, trains))
    click.echo("\n".join(expected(signed, network, link, settings, trains)))
    if settings.private:
        from peers.training.private import told

        click.echo("\n".join(told(signed.manifest)))
    if not click.get_text_stream("stdin").isatty():
        raise ConfigError("nobody is here to agree (no terminal): read the above and add --yes")
    if not click.confirm("Join?", default=True):
        raise ConfigError("not joined, as you wished")


def expected(signed: SignedManifest, network: Network, link: Link, settings: Settings, trains: bool) -> list[str]:
    """What taking part costs on this line, as measured with up to three peers, and what this machine lacks for it."""
    from peers.checks.machine import Disk, Memory
    from peers.checks.pace import apply_seconds
    from peers.checks.prospects import disk_needed, memory_needed, prospects
    from peers.commands.terminal import passing
    from peers.finding.ending import ending
    from peers.finding.visit import others, ways_to
    from peers.folders import home
    from peers.telling.progress import read_progress
    from peers.training.device import device_kind
    from swarm.run.sizing import show_bytes
    from swarm.state.state_file import file_size

    records = read_progress(network)
    if (over := ending(link, records)) is not None:
        size = show_bytes(file_size(signed.manifest))
        return [f"Ended      {over.words}: its final checkpoint ({size}) is fetched, and nothing is trained"]
    with passing() as say:
        ways = ways_to(network, others(network, link, records), say)
    manifest = signed.manifest
    plan = prospects(manifest, records, ways, apply_seconds=apply_seconds(manifest))
    needed = memory_needed(manifest, device_kind(settings.device) if trains else None)
    findings = [Memory(needed).look(), Disk(settings.directory or home(), disk_needed(manifest)).look()]
    lacking = [f"Beware     {found.name}: {found.words}; {found.fix}" for found in findings if found.verdict != "ok"]
    return [*plan.lines(), *lacking]


def describe(signed: SignedManifest, trains: bool) -> str:
    """The run in a few lines: what it is, who owns it, what it takes of a peer that trains, or of one that does not."""
    from peers.checks.prospects import disk_needed, memory_needed
    from swarm.run.sizing import device_memory, show_bytes, sizing
    from swarm.trust.identity import friendly_name

    manifest = signed.manifest
    stock = manifest.data.stock
    beside, own = show_bytes(memory_needed(manifest, None)), show_bytes(device_memory(manifest, 1))
    memory = f"about {beside}: nothing is trained"
    if trains:
        processor = show_bytes(memory_needed(manifest, "cpu"))
        memory = f"about {processor} with one sample at a time; with a GPU {beside}, and {own} of its own"
    size = sizing(manifest)
    told = f": {manifest.description}" if manifest.description else ""
    licences = ", ".join(sorted({source.licence for source in manifest.data.sources}))
    return "\n".join(
        [
            f"Run        {manifest.name} ({signed.digest[:16]}){told}",
            f"Owner      {friendly_name(manifest.owner)} ({manifest.owner})",
            f"Model      {manifest.model.architecture}, {size.parameters:,} parameters, licence {manifest.licence}",
            f"Languages  {' '.join(sorted(stock))}",
            f"Text       {show_bytes(sum(held.text_bytes for held in stock.values()))}, licence {licences}",
            f"Training   {manifest.training.steps:,} steps of {manifest.training.global_batch} samples",
            f"Memory     {memory}",
            f"Disk       about {show_bytes(disk_needed(manifest))}: checkpoints, and the text as tokens",
        ]
    )
