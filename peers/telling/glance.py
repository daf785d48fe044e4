"""Looking at a run as a guest, again and again: nothing is stored for others and nothing told."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import NetworkError

if TYPE_CHECKING:
    from monitoring.api import Watch
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

MANIFEST_SECONDS = 10.0
LEAST_SECONDS = 0.5  # for the directory, however late it is


class Patience:
    """How long whoever looks waits for what the swarm says, in all; what has not answered by then is in `silent`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.began = clock()
        self.silent: list[str] = []

    @property
    def left(self) -> float:
        return self.seconds - (self.clock() - self.began)


def glances(
    text: str, every_seconds: float, say: Callable[[str], None] = str, patience: Patience | None = None
) -> Iterator[Watch]:
    """The picture after each look, for as long as the caller goes on. NetworkError where nobody answers.

    patience: begun anew when the run is known; None: the network's own, and a look without an answer is an error.
    """
    from swarm.network.lean import import_lean

    say("Loading what it takes to ask a swarm ...")  # most of the time, where a machine is busy
    import_lean()
    from monitoring.api import Watch
    from monitoring.view.facts import facts_of
    from peers.finding.arrival import ask_for_manifest
    from peers.owner.watched import WatchedVersions
    from swarm.network.host import Network
    from swarm.run.link import parse
    from swarm.trust.identity import Identity

    link = parse(text)
    say("Dialling the run's doors ...")
    with (
        Network(Identity.generate(), link.digest, initial_peers=link.peers, client=True) as network,
        tempfile.TemporaryDirectory() as folder,
    ):
        say("Asking what the run is ...")
        signed = ask_for_manifest(network, link, MANIFEST_SECONDS)
        watch = Watch(facts_of(signed, text))
        versions = WatchedVersions(Path(folder), signed.manifest, watch)
        if patience is not None:
            patience.began = patience.clock()
        while True:
            say("Asking who is here ...")
            records = _records(network, patience)
            if records is not None:
                versions.look(network, records)
                watch.look(records, network.rejected())
            yield watch
            time.sleep(every_seconds)


def _records(network: Network, patience: Patience | None) -> dict[str, ProgressRecord] | None:
    """What everybody says; None where the directory did not answer before the patience ended."""
    from peers.telling.progress import read_progress

    if patience is None:
        return read_progress(network)
    try:
        return read_progress(network, max(LEAST_SECONDS, patience.left))
    except NetworkError:
        if patience.left > 0:  # it is not that it was late
            raise
        patience.silent.append(f"the swarm's directory, in {patience.seconds:.0f} s")
        return None
