"""Every number of the round, and the two rules that are made of numbers: when to stop waiting, and whose weight counts.

Nothing here is about safety except the quorum: waiting too short or too long costs a ballot, never a wrong outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Policy:
    """What all peers of a run agree on (from the manifest), and how patient a peer is (its own affair)."""

    spans: int = 1  # spans of the vector, from the manifest
    vector_bytes: int = 0  # encoded size of a whole contribution, for the expected transfer time
    quorum_rule: Literal["majority", "two-thirds"] = "majority"
    weight_cap: float = 0.5  # largest share of one peer in a mean of three or more
    anchors: frozenset[str] = frozenset()  # owner's or witnesses' keys: a lineage one of them voted in wins

    first_seconds: float = 5.0  # patience of a first round, when nothing was observed yet, ...
    first_rate: float = 1e6  # ... and bytes a second, of encoding or of a line, that are hoped for in it
    floor_seconds: float = 1.0  # no deadline is shorter
    last_factor: float = 3.0  # patience in units of the last round (or of the expected transfer)
    ballot_growth: float = 1.5  # patience grows by this with every failed ballot ...
    growth_limit: float = 16.0  # ... up to this
    ready_share: float = 2 / 3  # when this share of the expected weight is in, the rest gets as long again
    cut_factor: float = 2.0
    cut_seconds: float = 0.2
    host_cut_factor: float = 3.0  # a host waits for reducers, who wait for senders, ...
    host_margin: float = 1.5  # ... and its longest wait is this times theirs, which its roster tells them
    fork_ballots: int = 3  # ballots without a quorum before the survivors fork

    norm_factor: float = 16.0  # a span this many times the median norm of its round is refused
    history_rounds: int = 16  # rounds whose means are kept for peers that replay
    replay_rounds: int = 12  # further behind than this: download the state instead
    audit_rounds: int = 2  # rounds a sender keeps what it sent
    residual_rounds: int = 16  # a reducer's unpaid residual is dropped after this many rounds
    log_rounds: int = 256  # commits kept in memory and served to peers
    branch_commits: int = 512  # certified commits of other lineages kept while weighing them
    pledges: int = 256  # rounds whose promise and vote are remembered; older ones are abstained from
    commits_a_reply: int = 16
    fetch_seconds: float = 0.5  # between two questions to the same peer
    early_parts: int = 65_536  # parts held before their roster is known
    said_bytes: int = 2**26  # signed messages of a round kept to notice contradictions
    visitors: int = 256
    proofs: int = 64

    def quorum(self, electorate: int) -> int:
        """Votes that certify an outcome: more than half of the electorate, or more than two thirds."""
        return electorate // 2 + 1 if self.quorum_rule == "majority" else 2 * electorate // 3 + 1

    def patience(self, last_seconds: float | None, transfer_seconds: float, ballot: int) -> float:
        """Seconds one phase of a round may take before a peer stops hoping for it."""
        first = self.first_seconds + self.vector_bytes / self.first_rate
        seen = first if last_seconds is None else self.last_factor * last_seconds
        longest = max(self.floor_seconds, seen, self.last_factor * transfer_seconds)
        return longest * min(self.growth_limit, self.ballot_growth**ballot)

    def transfer_seconds(self, bandwidths: Iterable[float]) -> float:
        """Expected time of one exchange at the lower quartile of the declared bandwidths (bits a second, 0: unknown).

        The quartile, not the minimum: one peer that claims a bit a second cannot make the others wait.
        """
        known = sorted(value for value in bandwidths if value > 0)
        return 16 * self.vector_bytes / known[len(known) // 4] if known else 0.0


class Gathering:
    """Who is expected and who has come: the one rule by which host and reducers stop waiting.

    Done when all are in; else at `factor` x (time at which `ready_share` of the weight was in) + `cut_seconds`, and not
    before `least` + `cut_seconds`; or, if that share never comes, after `limit` seconds.
    """

    def __init__(self, policy: Policy, now: float, expected: dict[str, float], limit: float, factor: float) -> None:
        self.policy, self.start, self.limit, self.factor = policy, now, limit, factor
        self.missing = dict(expected)
        self.total = sum(expected.values())
        self.inside = 0.0
        self.closes = now + limit
        self.least = 0.0

    def arrive(self, now: float, who: str) -> None:
        weight = self.missing.pop(who, None)
        if weight is None:
            return
        before, self.inside = self.inside, self.inside + weight
        enough = self.policy.ready_share * self.total
        if before < enough - 1e-9 <= self.inside:
            waited = max(self.factor * (now - self.start), self.least)
            self.closes = min(self.closes, self.start + waited + self.policy.cut_seconds)

    def lose(self, who: str) -> None:
        """Stop expecting `who` (its connection broke, or it said that it leaves)."""
        self.total -= self.missing.pop(who, 0.0)

    @property
    def complete(self) -> bool:
        return not self.missing

    def over(self, now: float) -> bool:
        return self.complete or now >= self.closes


def effective_weights(weights: Sequence[float], cap: float) -> list[float]:
    """Weights with no peer above `cap` of the total, unless it is the only one that gives anything.

    A pure function of what the senders signed, so that every reducer and every auditor gets the same numbers.
    """
    total = math.fsum(weights)
    bound = cap / (1 - cap) if cap < 1 else math.inf
    result = []
    for weight in weights:
        others = math.fsum([total, -weight])
        result.append(min(weight, bound * others) if others > 0 else weight)
    return result
