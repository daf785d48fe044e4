"""Certified outcomes on their way to the trainer: on disk first, in log order, each once; their means stay as needed.

Whoever is told of a round finds it after a kill: its means, where nobody else is bound to hold them, then the log, then
the trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from swarm.averaging.live.arithmetic import Given
from swarm.averaging.live.delivery import Certified, Delivery
from swarm.averaging.live.journal import Journal
from swarm.averaging.live.store import Store
from swarm.averaging.live.workers import Workers
from swarm.averaging.round.events import Apply
from swarm.averaging.round.log import Entry
from swarm.averaging.round.peer import Peer


class Handover:
    """deliver: takes what is for the trainer, from any thread."""

    def __init__(
        self, core: Peer, means: Store, journal: Journal, workers: Workers, deliver: Callable[[Delivery], None]
    ) -> None:
        self.core, self.means, self.journal, self.workers, self.deliver = core, means, journal, workers, deliver
        self.untaken = 0  # outcomes handed over whose means are still needed here

    def secure(self, effect: Apply, given: Given | None) -> Certified:
        """On this peer's disk, as far as others may rely on it. given: what this peer gave to this round."""
        outcome, log, me = effect.outcome, self.core.log, self.core.context.me.peer
        entry, index = log.chain[log.index[effect.head]], outcome.index(me)
        self.means.pin(outcome.means)
        if certified_by_one(entry, me):
            self.means.keep(outcome.means)
        self.journal.follow(log)
        included = effect.included and index is not None and outcome.included[index]
        return Certified(outcome, entry.position, included, given)

    def give(self, certified: Certified) -> None:
        """To the trainer, as soon as the residuals before it are settled."""
        self.workers.in_order(lambda: self.deliver(certified))
        if self.untaken:  # the trainer is behind: not all that waits for it may stay in memory
            self._spill(certified.outcome.means)
        self.untaken += 1

    def taken(self, digests: Sequence[bytes]) -> None:
        """The trainer has what it needs of these means: they may leave memory."""
        self.untaken -= 1
        self.means.unpin(digests)
        self._spill(digests)

    def _spill(self, digests: Sequence[bytes]) -> None:
        self.workers.aside(partial(self.means.spill, digests), self.means.spilled)


def certified_by_one(entry: Entry, peer: str) -> bool:
    """Is this peer's vote the whole certificate, so that nobody else is bound to hold the means?"""
    return entry.commit is not None and {vote.message.at.peer for vote in entry.commit.votes} == {peer}
