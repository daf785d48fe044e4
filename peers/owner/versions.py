"""The versions of its run that a training peer knows, and which one counts for its step: `swarm/run/amendment.py`.

Nothing is agreed on when a version begins to count: each peer goes by the step, and the shared state that most hold is
the one that is right. A peer that heard too late has applied a step by the old rule; its state then differs from the
majority's, the round notices it, and it fetches the state as any peer that has drifted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers.owner.amendments import Amendments
from swarm.data.versions import VersionedBatches
from swarm.errors import SwarmError
from swarm.run.amendment import version_at
from swarm.update.rule import ScheduledRule, rule_of

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.amendment import Amendment, Chain
    from swarm.run.manifest import Manifest
    from swarm.state.shared import SharedState

Opened = Callable[["Manifest"], Any]


class Versions:
    """first: the manifest that is the run's identity. `known` is how many amendments; the trainer's thread asks."""

    def __init__(self, folder: Path, first: Manifest, network: Network, say: Callable[[str], None]) -> None:
        self.first, self.network, self.say = first, network, say
        self.amendments = Amendments(folder, first, self._adopted)
        self.reader: VersionedBatches | None = None
        self.scheduled = self.counted = 0  # amendments that the state's rule has, and that count at the last step seen

    def begin(self, others: Iterable[str]) -> None:
        """Ask whoever is there, and pass on what is known."""
        self.amendments.ask_doors(self.network, others)
        self.amendments.serve(self.network)

    @property
    def known(self) -> int:
        return len(self.amendments.chain)

    def number(self, step: int) -> int:
        """How many amendments count for the step from `step` on."""
        return sum(each.at_step <= step for each in self.amendments.chain)

    def at(self, step: int) -> Manifest:
        return version_at(self.first, self.amendments.chain, step)

    def batches(self, opened: Opened) -> VersionedBatches:
        """What a peer reads: of each version the text that `opened` gives for it."""

        def version(number: int) -> Any:
            return opened(self.amendments.chain[number - 1].manifest if number else self.first)

        self.reader = VersionedBatches(self.number, version)
        return self.reader

    def schedule(self, state: SharedState) -> None:
        """Before a round is applied: the state's rule is that of all known versions, each from its step on."""
        if self.scheduled != self.known:
            self.scheduled = self.known
            state.rule = scheduled_rule(self.first, self.amendments.chain, state.layout.decayed)

    def new_at(self, step: int) -> Manifest | None:
        """The version that counts now, where it is another one than at the last call."""
        number = self.number(step)
        if number == self.counted:
            return None
        self.counted = number
        return self.at(step)

    def look(self, records: dict[str, ProgressRecord]) -> None:
        """After each step: does anybody know more?"""
        self.amendments.look(self.network, records)

    def _adopted(self, amendment: Amendment) -> None:
        self.say(
            f"The owner has amended the run: amendment {amendment.number} counts from step {amendment.at_step:,} on."
        )
        if self.reader is not None:
            threading.Thread(target=self._prepare, args=(amendment,), name="text", daemon=True).start()

    def _prepare(self, amendment: Amendment) -> None:
        """Have its text ready before it is needed."""
        assert self.reader is not None
        try:
            self.reader.prepare(amendment.number)
        except SwarmError as error:
            self.say(f"Without its text this peer ends at step {amendment.at_step:,}: {error}")


def scheduled_rule(first: Manifest, chain: Chain, decayed: tuple[slice, ...]) -> ScheduledRule:
    """The rule of all these versions, each from its step on."""
    later = [(each.at_step, each.manifest) for each in chain]
    return ScheduledRule([(step, rule_of(version, decayed)) for step, version in [(0, first), *later]])
