"""A peer's stay in a run, as a process: signals, identity, network, arrival, and what it does there until it leaves."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from peers.finding.acquaintances import Acquaintances
from peers.finding.arrival import Agree, arrive
from peers.finding.ending import ending
from peers.finding.entry import entered
from peers.finding.left_behind import LeftBehind
from peers.finding.visit import heard
from peers.folders import run_folder
from peers.lifecycle import Leave
from peers.owner.membership import require_invited, stay_invited
from peers.run_folder import RunFolder
from peers.telling.events import Events
from peers.twin import refuse_twin
from swarm.errors import INTERRUPTED, NetworkError
from swarm.heap import keep_freed_memory
from swarm.network.caps import Caps
from swarm.network.host import Network
from swarm.run.link import Link
from swarm.settings import Settings
from swarm.trust.identity import Identity
from swarm.update.golden import require_golden

if TYPE_CHECKING:
    from peers.roles.peer import Peer

REVIVALS = 5  # times that a daemon which died is started again before the peer gives up


def run_peer(
    link: Link,
    settings: Settings,
    agree: Agree,
    kind: Callable[[], type[Peer]],
    *,
    wait_for: int = 1,
    first: bool = False,
) -> int:
    """Take part until the run's last step, the number of steps asked for, or a signal. The exit code.

    kind: imports what this peer is. Models and their libraries take seconds, in which the network is entered. first: it
    comes up also where nobody answers, and stays when all have gone.
    """
    keep_freed_memory()
    require_golden()
    folder = settings.directory or run_folder(link.digest)
    events = Events(settings.log_format, folder)
    events.about(run=link.digest[:16], step=0, round=0)
    identity = Identity.load_or_create(folder / "identity.pem")
    with ExitStack() as stack:
        stack.enter_context(events.with_warnings())
        leave = stack.enter_context(Leave())
        stack.enter_context(identity.lock())
        comes_up_alone = first and RunFolder(folder).has_manifest()
        make = partial(network_of, identity, link, settings, folder, on_death=leave.now, first=comes_up_alone)
        imported = stack.enter_context(ThreadPoolExecutor(1, "import")).submit(kind)
        network = stack.enter_context(entered(make, link, lambda words: events("client", words)))
        refuse_twin(network)
        over = ending(link, heard(network, looks=2))
        if over is not None:
            held = over.held_in(folder / "checkpoints")
            if held is not None and not first:
                events("finished", f"{over.words}; its final checkpoint is here: {held}", checkpoint=str(held))
                return 0
        role = imported.result()  # before anything else imports what it imports
        make_peer = role if over is None else role.late(over)
        signed, tokenizer = arrive(network, link, RunFolder(folder), agree)
        events("joined", f"Joined {signed.manifest.name} as {identity.name}.", peer_id=identity.peer_id)
        stay_invited(network, leave, events)
        with make_peer(network, signed, tokenizer, settings, folder=folder, events=events, leave=leave) as peer:
            behind = LeftBehind(link, peer, leave)
            if over is None and not first:  # else it knows, or stays when all have gone
                stack.enter_context(behind)
            finished = peer.run(wait_for)
        if not finished:
            behind.require_company()
        if leave.reason is not None and not finished:
            require_invited(network, signed)
            raise NetworkError(f"{leave.reason}; the same command goes on from the last checkpoint")
    gc.freeze()  # everything is closed: do not let the interpreter search torch's objects for garbage for seconds
    return 0 if finished else INTERRUPTED


def network_of(
    identity: Identity,
    link: Link,
    settings: Settings,
    folder: Path,
    client: bool,
    *,
    on_death: Callable[[str], None],
    first: bool = False,
) -> Network:
    """As the settings say. client: only to dial out, whatever they say. first: also where nobody answers."""
    return Network(
        identity,
        link.digest,
        initial_peers=(*link.peers, *settings.initial_peers, *Acquaintances(folder / "peers.json").addresses()),
        listen=settings.listen,
        announce=() if client else settings.announce,
        client=client or settings.client,
        caps=Caps(settings.upload_mbit, settings.download_mbit),
        direct=settings.direct,
        revivals=REVIVALS,
        first=first,
        on_death=on_death,
    )
