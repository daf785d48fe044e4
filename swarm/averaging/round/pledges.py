"""What this incarnation promised and voted in each round: never contradicted; what is forgotten is abstained from."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from swarm.averaging.round.messages import Ballot, Envelope, LastVote, Propose, Vote


@dataclass
class Pledge:
    """The highest ballot promised, and the last vote, of this incarnation in one round."""

    promised: Ballot | None = None
    vote: LastVote | None = None  # for an outcome of this lineage; votes for forks bind nobody here
    proposal: Envelope[Propose] | None = None  # what the vote was for, for the next host
    cast: Envelope[Vote] | None = None


class Pledges:
    """By base. Only so many are kept: a round that may have been pledged and forgotten is abstained from."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept: OrderedDict[bytes, tuple[int, Pledge]] = OrderedDict()  # base -> (round, promise and vote)
        self.forgotten = -1  # rounds up to this one may be among the forgotten

    def of(self, base: bytes, round: int) -> Pledge:
        if base not in self.kept:
            never = Ballot(2**32 - 1, "~", 0) if round <= self.forgotten else None
            self.kept[base] = (round, Pledge(promised=never))
            if len(self.kept) > self.limit:
                self.forgotten = max(self.forgotten, self.kept.popitem(last=False)[1][0])
        return self.kept[base][1]
