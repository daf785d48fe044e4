"""Looking at a run as a guest, again and again: nothing is stored for others and nothing told."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitoring.api import Watch


def glances(text: str, every_seconds: float) -> Iterator[Watch]:
    """The picture after each look, for as long as the caller goes on. NetworkError where nobody answers."""
    from monitoring.api import Watch
    from monitoring.view.facts import facts_of
    from peers.finding.arrival import ask_for_manifest
    from peers.owner.watched import WatchedVersions
    from peers.telling.progress import read_progress
    from swarm.network.host import Network
    from swarm.run.link import parse
    from swarm.trust.identity import Identity

    link = parse(text)
    with (
        Network(Identity.generate(), link.digest, initial_peers=link.peers, client=True) as network,
        tempfile.TemporaryDirectory() as folder,
    ):
        signed = ask_for_manifest(network, link)
        watch = Watch(facts_of(signed, text))
        versions = WatchedVersions(Path(folder), signed.manifest, watch)
        while True:
            records = read_progress(network)
            versions.look(network, records)
            watch.look(records, network.rejected())
            yield watch
            time.sleep(every_seconds)
