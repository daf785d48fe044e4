"""Which version of its run those go by who look on and train nothing: the one that counts at the swarm's step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.view.claims import swarm_step
from peers.owner.amendments import Amendments
from swarm.run.amendment import version_at

if TYPE_CHECKING:
    from monitoring.api import Watch
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.amendment import Chain
    from swarm.run.manifest import Manifest


def step_of(first: Manifest, chain: Chain, records: Iterable[ProgressRecord]) -> int:
    """The step that most trainers are at; within the longest of the versions, since they may be past the others."""
    return swarm_step(records, max(each.training.steps for each in (first, *(one.manifest for one in chain))))


class WatchedVersions:
    """Makes `watch` judge by the version that counts. folder: where amendments are kept."""

    def __init__(self, folder: Path, first: Manifest, watch: Watch) -> None:
        self.first, self.watch, self.counted = first, watch, first
        self.amendments = Amendments(folder, first)

    def look(self, network: Network, records: Mapping[str, ProgressRecord]) -> bool:
        """Before the records are shown to the watch: ask who knows more; whether another version counts from now on."""
        self.amendments.look(network, records)
        chain = self.amendments.chain
        step = max(self.watch.view.step, step_of(self.first, chain, records.values()))
        version = version_at(self.first, chain, step)
        if version == self.counted:
            return False
        self.counted = version
        self.watch.amend(version)
        return True
