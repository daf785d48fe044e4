"""`bloomswarm seed RUN`: the run's door. It serves manifest and tokenizer, introduces peers, and trains nothing.

A running swarm does not need it: peers know each other. Newcomers do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from peers.events import Events
    from peers.lifecycle import Leave
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

LOOK_SECONDS = 1.0
EVERYWHERE = ("/ip4/0.0.0.0/tcp/0",)


@click.command("seed", epilog="Example: bloomswarm seed my-run --listen /ip4/0.0.0.0/tcp/31337")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--listen", multiple=True, help="Multiaddress to listen on  [default: every interface, a free port]")
@click.option("--announce", multiple=True, help="Multiaddress to put into the link, if others see another one.")
@click.option("--peer", multiple=True, help="A running seed or peer of the same run, to be a further seed.")
@click.option("--log-format", type=click.Choice(["plain", "json"]), default="plain", show_default=True)
def command(
    run: Path, listen: tuple[str, ...], announce: tuple[str, ...], peer: tuple[str, ...], log_format: str
) -> None:
    """Serve the run in folder RUN (from `create`) and print the link to join it with. Ctrl+C ends it."""
    from peers.events import Events

    raise SystemExit(serve(run, listen, announce, peer, Events(log_format, run)))


def serve(run: Path, listen: tuple[str, ...], announce: tuple[str, ...], peers: tuple[str, ...], events: Events) -> int:
    """Until told to leave. Returns the exit code."""
    from peers.arrival import offer
    from peers.lifecycle import Leave
    from peers.run_folder import RunFolder
    from swarm.identity import Identity
    from swarm.link import Link
    from swarm.network.host import Network

    folder = RunFolder(run)
    signed = folder.manifest()
    identity = Identity.load_or_create(run / "seed.pem")
    with Leave() as leave, identity.lock():
        with Network(
            identity, signed.digest, listen=listen or EVERYWHERE, announce=announce, initial_peers=peers
        ) as network:
            offer(network, signed, folder.tokenizer(), folder.weights())
            link = str(Link(signed.digest, tuple(network.addresses())[:8]))
            folder.write_link(link)
            events(
                "seeding",
                f"Seeding {signed.manifest.name}. Others join with:\n\n  bloomswarm join '{link}'\n",
                link=link,
            )
            watch(network, signed.manifest.training.steps, events, leave)
        events("left", "The seed has left; peers that know each other go on without it.")
    return 0


def watch(network: Network, steps: int, events: Events, leave: Leave) -> None:
    """Say one line whenever the swarm's step changes, until told to leave."""
    from peers.progress import Progress

    last = -1
    with Progress(network, role="seed") as progress:
        progress.tell(step=0, state="serving")
        while not leave.event.wait(LOOK_SECONDS):
            last = say_step(progress.records(), steps, last, events)


def say_step(records: dict[str, ProgressRecord], steps: int, last: int, events: Events) -> int:
    """The swarm's line if its step is not `last`; returns the step."""
    peers = [record for record in records.values() if record.role == "trainer"]
    step = max((record.step for record in peers), default=0)
    if step != last and peers:
        losses = [record.loss for record in peers if record.loss is not None]
        loss = f"{sum(losses) / len(losses):.3f}" if losses else "-"
        count = f"{len(peers)} peer{'s' if len(peers) > 1 else ''}"
        events("swarm", f"step {step}/{steps}  {count}  loss {loss}", step=step, peers=len(peers))
        return step
    return last
