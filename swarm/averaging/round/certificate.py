"""Positions in a log, who may vote and host there, and what makes an outcome and its certificate valid.

Pure functions: a certificate can be checked by anyone who knows the position it builds on, with no clock and no state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from swarm.averaging.round.messages import (
    Ballot,
    Commit,
    Envelope,
    LastVote,
    Outcome,
    Propose,
    Ready,
    Reduced,
    Roster,
    SpanOutcome,
    sha256,
)
from swarm.averaging.round.policy import Policy

BITMAPS = 1024  # kept decoded: a roster's members mostly send to every span
Verify = Callable[[Envelope], bool]  # is the signature its peer's?


class CommitError(Exception):
    """A commit that certifies nothing. `reason` comes from a small fixed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Seat(NamedTuple):
    """A voter: a peer in one incarnation. A restarted peer has another and cannot contradict a vote it forgot."""

    peer: str
    incarnation: int
    full: bool
    weight: float


@dataclass(frozen=True)
class Position:
    """A log after `round` rounds: everything the next round needs to know of the past."""

    run: bytes
    lineage: bytes
    round: int
    head: bytes
    electorate: tuple[Seat, ...]

    @cached_property
    def seats(self) -> dict[str, Seat]:
        return {seat.peer: seat for seat in self.electorate}

    @cached_property
    def order(self) -> tuple[Seat, ...]:
        """Who hosts ballots 0, 1, 2, ...: full peers of the electorate by rendezvous hash, the same for all."""
        full = [seat for seat in self.electorate if seat.full] or list(self.electorate)
        return tuple(sorted(full, key=lambda seat: rendezvous(self.head, seat.peer)))

    def votes(self, peer: str, incarnation: int) -> bool:
        return peer in self.seats and self.seats[peer].incarnation == incarnation


def rendezvous(head: bytes, peer: str) -> bytes:
    return sha256(head, peer.encode())


def genesis(run: bytes) -> Position:
    """Before the first round: nobody can vote, so that the first commits are forks, healed like any other."""
    return Position(run, sha256(b"genesis", run), 0, sha256(b"head", run), ())


def host_of(position: Position, policy: Policy, number: int, candidates: Iterable[str]) -> str:
    """Who should host this ballot. From the first fork ballot on, every candidate gets a turn.

    Only liveness depends on it: a ballot is (number, host, incarnation), so two hosts of one number are two ballots.
    """
    if position.electorate and number < policy.fork_ballots:
        return position.order[number % len(position.order)].peer
    everyone = sorted(candidates, key=lambda peer: rendezvous(position.head, peer))
    return everyone[number % len(everyone)]


def fork_lineage(base: bytes, ballot: Ballot) -> bytes:
    return sha256(b"fork", base, f"{ballot.number}/{ballot.host}/{ballot.incarnation}".encode())


def seats_of(readys: Iterable[Envelope[Ready]]) -> tuple[Seat, ...]:
    return tuple(
        Seat(ready.at.peer, ready.at.incarnation, ready.full, ready.weight)
        for ready in (envelope.message for envelope in readys)
    )


def after(parent: Position, outcome: Outcome) -> Position:
    return Position(parent.run, outcome.lineage, outcome.round, outcome.head, seats_of(outcome.readys))


def readys_fault(parent: Position, ballot: Ballot, readys: Iterable[Envelope[Ready]], verify: Verify) -> str | None:
    """Why these are not signed Readys of distinct peers for this ballot, or None."""
    seen = set()
    for envelope in readys:
        at = envelope.message.at
        if at.base != parent.head or at.ballot != ballot or at.run != parent.run or at.peer in seen:
            return "roster"
        if not verify(envelope):
            return "signature"
        seen.add(at.peer)
    return None


def roster_fault(parent: Position, roster: Roster, policy: Policy, verify: Verify) -> str | None:
    """Why no round can be held by this roster, or None."""
    at = roster.at
    if (at.peer, at.incarnation) != (at.ballot.host, at.ballot.incarnation):
        return "host"
    if len(roster.reducers) != policy.spans or not roster.readys or max(roster.reducers) >= len(roster.readys):
        return "span"
    return readys_fault(parent, at.ballot, roster.readys, verify)


@lru_cache(BITMAPS)
def senders_of(bitmap: bytes, size: int) -> tuple[int, ...]:
    """The roster indices in a bitmap; none if it is no bitmap of a roster of `size`."""
    if len(bitmap) != (size + 7) // 8:
        return ()
    span = SpanOutcome(b"", 0, bitmap)
    found = tuple([index for index in range(8 * len(bitmap)) if span.has(index)])
    return found if found and found[-1] < size else ()


def implausible(reduced: Reduced, readys: Sequence[Envelope[Ready]]) -> bool:
    """Does it name a mean of nobody, of strangers or of peers that give nothing; or without a mean anybody?"""
    if not reduced.digest:
        return bool(reduced.senders)
    included = senders_of(reduced.senders, len(readys))
    return not included or any(readys[index].message.weight <= 0 for index in included)


def outcome_fault(parent: Position, outcome: Outcome, policy: Policy, verify: Verify) -> str | None:
    """Why this outcome cannot follow `parent`, or None."""
    if outcome.run != parent.run or outcome.base != parent.head or outcome.round != parent.round + 1:
        return "place"
    lineage = fork_lineage(parent.head, outcome.ballot) if outcome.fork else parent.lineage
    if outcome.lineage != lineage or not outcome.readys or len(outcome.spans) != policy.spans:
        return "place"
    size = len(outcome.readys)
    for span in outcome.spans:
        if span.void:
            if span.reducer or span.senders:
                return "span"
            continue
        included = senders_of(span.senders, size)
        if span.reducer >= size or not included:
            return "span"
        if any(outcome.readys[index].message.weight <= 0 for index in included):
            return "weight"
    return readys_fault(parent, outcome.ballot, outcome.readys, verify)


def voters_of(parent: Position, outcome: Outcome) -> Position:
    """The position whose electorate certifies `outcome`: the parent's, or for a fork the roster itself."""
    return after(parent, outcome) if outcome.fork else parent


def check_commit(parent: Position, commit: Commit, policy: Policy, verify: Verify) -> Position:
    """The position after `commit`, if a quorum of distinct voters signed this very outcome in one ballot."""
    fault = outcome_fault(parent, commit.outcome, policy, verify)
    if fault:
        raise CommitError(fault)
    voters = voters_of(parent, commit.outcome)
    ballots, signed = set(), set()
    for envelope in commit.votes:
        at = envelope.message.at
        if at.run != parent.run or at.base != parent.head or envelope.message.outcome != commit.outcome.digest:
            raise CommitError("vote")
        if at.peer in signed or not voters.votes(at.peer, at.incarnation) or not verify(envelope):
            raise CommitError("voter")
        signed.add(at.peer)
        ballots.add(at.ballot)
    if len(ballots) != 1 or len(signed) < policy.quorum(len(voters.electorate)):
        raise CommitError("quorum")
    return after(parent, commit.outcome)


def bound_votes(parent: Position, policy: Policy, proof: Iterable[Envelope[Ready]]) -> list[LastVote]:
    """What may have been certified already, by the Readys of a quorum: nothing, or the one vote that a new host must
    propose again (Paxos's rule), or several, of which nobody can tell yet.

    Votes of one ballot for two outcomes mean that its host has signed two proposals. Then its own word counts for
    nothing, as if it were absent, and an outcome stays possible only if the absent could make its votes a quorum.
    """
    told = {ready.at.peer: ready.vote for ready in (e.message for e in proof) if parent.votes(*ready.at[-2:])}
    votes = [vote for vote in told.values() if vote is not None]
    if not votes:
        return []
    ballot = max(vote.ballot for vote in votes)
    found = {vote.outcome for vote in votes if vote.ballot == ballot}
    if len(found) == 1:
        return [LastVote(ballot, outcome) for outcome in found]
    told.pop(ballot.host, None)
    absent = len(parent.electorate) - len(told)
    count = Counter(vote.outcome for vote in told.values() if vote is not None and vote.ballot == ballot)
    quorum = policy.quorum(len(parent.electorate))
    return [LastVote(ballot, outcome) for outcome in sorted(found) if count[outcome] + absent >= quorum]


def promised(parent: Position, readys: Iterable[Envelope[Ready]]) -> int:
    """How many of the electorate have promised."""
    return sum(parent.votes(ready.message.at.peer, ready.message.at.incarnation) for ready in readys)


def proposal_fault(parent: Position, proposal: Propose, policy: Policy, verify: Verify) -> str | None:
    """Why nobody should vote for this proposal, or None."""
    outcome, ballot = proposal.outcome, proposal.at.ballot
    if (proposal.at.peer, proposal.at.incarnation) != (ballot.host, ballot.incarnation):
        return "host"
    fault = outcome_fault(parent, outcome, policy, verify)
    if fault is not None or outcome.ballot > ballot:
        return fault or "ballot"
    if outcome.fork:
        early = parent.electorate and ballot.number < policy.fork_ballots
        return "fork" if early else None if outcome.ballot == ballot else "ballot"
    proof = outcome.readys if outcome.ballot == ballot else proposal.proof
    fault = readys_fault(parent, ballot, proof, verify)
    if fault is not None:
        return fault
    if promised(parent, proof) < policy.quorum(len(parent.electorate)):
        return "quorum"
    bound = [vote.outcome for vote in bound_votes(parent, policy, proof)]
    return None if bound == ([] if outcome.ballot == ballot else [outcome.digest]) else "bound"


def differing_state(mine: bytes, outcome: Outcome) -> tuple[int, ...]:
    """Which of the due spans of the shared state, of 8 bytes each in `mine`, most of the roster has otherwise."""
    states = [ready.message.state for ready in outcome.readys if len(ready.message.state) == len(mine)]
    result = []
    for index in range(len(mine) // 8):
        part = slice(8 * index, 8 * index + 8)
        most, votes = Counter(state[part] for state in states).most_common(1)[0] if states else (b"", 0)
        if mine[part] != most and 2 * votes > len(outcome.readys):
            result.append(index)
    return tuple(result)
