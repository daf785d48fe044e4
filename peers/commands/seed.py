"""`bloomswarm seed RUN`: the run's door. It serves manifest and tokenizer, introduces peers, and trains nothing.

A running swarm does not need it: peers know each other. Newcomers do.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peers.commands.taking_part import FORMAT, JSON
from peers.finding.acquaintances import Acquaintances
from swarm.address import doors_of
from swarm.errors import IdentityError, LinkError, NetworkError, ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from peers.lifecycle import Leave
    from peers.run_folder import RunFolder
    from peers.telling.events import Events
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.amendment import Chain
    from swarm.run.manifest import SignedManifest
    from swarm.trust.identity import Identity

LOOK_SECONDS = 1.0
REVIVALS = 5  # times that a daemon which died is started again
OWN_DOORS, OF_ANOTHER, MOST_DOORS = 8, 2, 12  # addresses in a link: it must stay one that can be pasted
EVERYWHERE = ("/ip4/0.0.0.0/tcp/0",)
KEEP = "To give them the final checkpoint too: bloomswarm seed RUN --from CHECKPOINT."


@click.command(
    "seed",
    epilog="Examples:\n\n  bloomswarm seed my-run --listen /ip4/0.0.0.0/tcp/31337\n\n"
    "  bloomswarm seed my-run --peer 'bloomswarm:...'   (a further seed, elsewhere)\n\n"
    "  bloomswarm seed my-run --from my-peer/checkpoints/step-00000040   (a run that everybody has left goes on there)"
    "\n\n  bloomswarm seed my-run --link",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--listen", multiple=True, help="Multiaddress to listen on  [default: every interface, a free port]")
@click.option("--announce", multiple=True, help="Multiaddress to put into the link, if others see another one.")
@click.option("--peer", multiple=True, help="To be a further seed: the run's link, or the address of a peer of it.")
@click.option("--from", "checkpoint", type=click.Path(path_type=Path), help="Start a dead run again from this state.")
@click.option("--link", "only_link", is_flag=True, help="Print the link again and end; the seed goes on.")
@JSON
@FORMAT
def command(
    run: Path,
    listen: tuple[str, ...],
    announce: tuple[str, ...],
    peer: tuple[str, ...],
    checkpoint: Path | None,
    only_link: bool,
    as_json: bool,
    log_format: str | None,
) -> None:
    """Serve the run in folder RUN (from `create`) and print the link to join it with. Ctrl+C ends it."""
    from peers.run_folder import RunFolder

    if only_link:
        link = RunFolder(run).link()
        click.echo(json.dumps({"link": link}) if as_json else link)
        return
    RunFolder(run).manifest()  # a wrong folder is said before the network's libraries are read
    require_alone(run)
    from swarm.network.lean import import_lean

    import_lean()
    from peers.telling.events import Events

    events = Events("json" if as_json else log_format or "plain", run)
    with events.with_warnings():
        raise SystemExit(serve(run, listen, announce, peer, events, checkpoint=checkpoint))


def serve(
    run: Path,
    listen: tuple[str, ...],
    announce: tuple[str, ...],
    peers: tuple[str, ...],
    events: Events,
    *,
    checkpoint: Path | None = None,
) -> int:
    """Until told to leave. Returns the exit code. checkpoint: of a dead run, to start it again from."""
    from peers.finding.arrival import offer
    from peers.lifecycle import Leave
    from peers.owner.doorkeeper import keep_door
    from peers.run_folder import RunFolder
    from peers.state.restart import Restart, offer_states
    from swarm.network.host import Network
    from swarm.trust.identity import Identity

    folder = RunFolder(run)
    signed = folder.manifest()
    events.about(run=signed.digest[:16], step=0, round=0)
    restart = Restart(run, signed, checkpoint) if checkpoint is not None else None
    identity = Identity.load_or_create(run / "seed.pem")
    doors = given_doors(peers, signed.digest)
    with Leave() as leave, alone(run, identity):
        make = partial(
            Network,
            identity,
            signed.digest,
            announce=announce,
            initial_peers=doors,
            revivals=REVIVALS,
            on_death=leave.now,
        )
        with closing(opened(make, listen, folder)) as network:
            keep_door(network, signed, run, lambda words: events("note", words))
            offer(network, signed, folder.tokenizer(), folder.weights())
            if restart is not None:
                events("restart", restart.begin(network))
            offer_states(network, signed.manifest, run)
            Seed(network, signed, folder, events).watch(leave)
        if leave.reason is not None:
            raise NetworkError(f"{leave.reason}; start the seed again, its link stays the same with --listen")
        events("left", "The seed has left; peers that know each other go on without it.")
    return 0


def require_alone(run: Path) -> None:
    """IdentityError where this folder's seed runs already; `alone` makes sure of it later."""
    from swarm.trust.identity import Identity

    if (run / "seed.pem").exists():
        with alone(run, Identity.load(run / "seed.pem")):
            return


@contextmanager
def alone(run: Path, identity: Identity) -> Iterator[None]:
    """IdentityError where this folder's seed runs already."""
    with ExitStack() as stack:
        try:
            stack.enter_context(identity.lock())
        except IdentityError:
            remedy = f"its link is printed by: bloomswarm seed {run} --link"
            raise IdentityError(f"{identity.name}, the seed of {run}, already runs here; {remedy}") from None
        yield


def opened(make: Callable[..., Network], listen: tuple[str, ...], folder: RunFolder) -> Network:
    """Started where --listen says, else on the port of the last link, so that it stays good, else on a free one."""
    last = None if listen else folder.last_port()
    if last is not None:
        try:
            return make(listen=(f"/ip4/0.0.0.0/tcp/{last}",)).start()
        except ResourceError:  # taken meanwhile
            return make(listen=EVERYWHERE).start()
    return make(listen=listen or EVERYWHERE).start()


def given_doors(peers: tuple[str, ...], digest: str) -> tuple[str, ...]:
    """The addresses in what --peer was given: links of this run, or addresses."""
    from swarm.run.link import SCHEME, parse

    doors: list[str] = []
    for text in peers:
        if not text.strip().startswith(SCHEME):
            doors.append(text)
            continue
        link = parse(text)
        if link.digest != digest:
            raise LinkError(f"--peer is a link of the run {link.digest[:16]}, this folder holds {digest[:16]}")
        doors += link.peers
    return tuple(dict.fromkeys(doors))


class Seed:
    """Serves while `watch` runs: writes the link whenever a door opens or closes, says when the swarm has moved on."""

    def __init__(self, network: Network, signed: SignedManifest, folder: RunFolder, events: Events) -> None:
        self.network, self.signed, self.folder, self.events = network, signed, folder, events
        self.acquaintances = Acquaintances(folder.path / "peers.json")
        self.link, self.said, self.over = "", False, False
        self.reached = folder.reached()

    def watch(self, leave: Leave) -> None:
        """Until told to leave."""
        from peers.owner.amendments import Amendments
        from peers.owner.watched import step_of
        from peers.telling.progress import Progress

        last, first = -1, self.signed.manifest
        own = self.network.addresses()
        self.tell(own, {})
        self.network.meet(self.acquaintances.addresses())
        amendments = Amendments(self.folder.path, first)
        amendments.serve(self.network)
        with Progress(self.network, role="seed", lonely=self.look_for_others) as progress:
            progress.tell(addresses=tuple(own)[:8], **self.standing(amendments.chain, 0))
            while not leave.event.wait(LOOK_SECONDS):
                records = progress.records()
                self.tell(own, records)
                self.acquaintances.remember(records, self.network.peer_id)
                amendments.look(self.network, records)
                step = step_of(first, amendments.chain, records.values())
                news = {"amendments": amendments.read(), **self.standing(amendments.chain, step)}
                if any(progress.values.get(name, 0) != value for name, value in news.items()):
                    progress.tell(**news)
                last = say_step(records, step, self.end_at(amendments.chain, step), last, self.events)

    def standing(self, chain: Chain, step: int) -> dict[str, Any]:
        """How far this seed has seen the swarm, also before it was started again: newcomers are told by it."""
        from peers.state.restart import CHECKPOINTS
        from swarm.state.checkpoint import saved

        if step > self.reached:
            self.reached = step
            self.folder.write_reached(step)
        ended = self.reached >= self.end_at(chain, self.reached)
        if ended and not self.over:
            self.events("ended", f"The run has ended at step {self.reached:,}: newcomers are told so. {KEEP}")
        self.over = ended
        kept = saved(self.folder.path / CHECKPOINTS)
        values = {"step": self.reached, "state": "finished" if ended else "serving"}
        return values | ({"checkpoint_step": int(kept[0].name[5:])} if kept else {})

    def end_at(self, chain: Chain, step: int) -> int:
        """The last step of the version that counts then."""
        from swarm.run.amendment import version_at

        return version_at(self.signed.manifest, chain, step).training.steps

    def look_for_others(self, seconds: float) -> None:
        """Peers may be there that do not know us: two halves of one run would never meet."""
        self.network.meet([*self.network.initial_peers, *self.acquaintances.addresses()])

    def tell(self, own: list[str], records: Mapping[str, ProgressRecord]) -> None:
        """The link, where it is new: our own addresses first, then those of the other seeds of the run."""
        from swarm.run.link import Link

        others = [seed for seed in records.items() if seed[1].role == "seed" and seed[0] != self.network.peer_id]
        doors = own[:OWN_DOORS] + [
            door for peer, record in sorted(others) for door in doors_of(peer, record.addresses)[:OF_ANOTHER]
        ]
        link = str(Link(self.signed.digest, tuple(dict.fromkeys(doors))[:MOST_DOORS]))
        if link == self.link:
            return
        self.link = link
        self.folder.write_link(link)
        if not self.said:
            self.said = True
            words = f"Seeding {self.signed.manifest.name}. Others join with:\n\n  bloomswarm join '{link}'\n"
            self.events("seeding", words, link=link)
        else:
            self.events("link", f"The link now names {len(others) + 1} seeds: bloomswarm seed RUN --link", link=link)


def say_step(records: dict[str, ProgressRecord], step: int, steps: int, last: int, events: Events) -> int:
    """The swarm's line if its step is not `last`; returns the step. The loss is a median: no liar moves it."""
    from monitoring.view.robust import median

    peers = [record for record in records.values() if record.role == "trainer"]
    if step == last or not peers:
        return last
    middle = median([record.loss for record in peers if record.loss is not None])
    loss = f"{middle:.3f}" if middle is not None else "-"
    count = f"{len(peers)} peer{'s' if len(peers) > 1 else ''}"
    events.about(step=step, round=step)
    events("swarm", f"step {step}/{steps}  {count}  loss {loss}", peers=len(peers))
    return step
