"""Asking for the means of a proposal that did not come by themselves: first whoever should have them, then anybody."""

from __future__ import annotations

import math

from swarm.averaging.round.certificate import Position
from swarm.averaging.round.context import Context
from swarm.averaging.round.messages import MAX_ITEMS, Fetch, Lack, Propose


class Fetching:
    """at: when to ask next."""

    def __init__(self, context: Context, position: Position) -> None:
        self.context, self.position = context, position
        self.at = math.inf
        self.asked = 0  # how often, for this proposal

    def begin(self, now: float) -> None:
        """A proposal has come; what it names may still be on its way."""
        self.asked = 0
        self.at = now + self.context.pause(self.context.policy.cut_seconds)

    def stop(self) -> None:
        self.at = math.inf

    def gained(self, now: float) -> None:
        """A mean has come. As long as they do, the rest is on its way, and to ask for it would send it twice."""
        self.at = max(self.at, now + self.context.pause(self.context.policy.cut_seconds))

    def ask(self, now: float, proposal: Propose, missing: list[int]) -> None:
        """Ask for the missing spans: first those who made them and the host, then one peer after another."""
        outcome, host = proposal.outcome, proposal.at.ballot.host
        missing = missing[:MAX_ITEMS]
        header = self.context.header(self.position, proposal.at.ballot)
        if self.asked == 0:
            self.context.send([host], Lack(header, tuple(missing)))
            for reducer in sorted({outcome.spans[i].reducer for i in missing}):
                wanted = tuple(outcome.spans[i].digest for i in missing if outcome.spans[i].reducer == reducer)
                self.context.send([outcome.roster[reducer]], Fetch(header, digests=wanted))
        else:
            others = [peer for peer in outcome.roster if peer != self.context.me.peer]
            if others:
                wanted = tuple(outcome.spans[i].digest for i in missing)
                self.context.send([others[self.asked % len(others)]], Fetch(header, digests=wanted))
        self.asked += 1
        self.at = now + self.context.pause(self.context.policy.fetch_seconds)
