"""What an earlier ballot may have certified already, as the host of a new one reads it from the Readys it has."""

from __future__ import annotations

from swarm.averaging.round.certificate import Position, bound_votes, promised
from swarm.averaging.round.context import Context
from swarm.averaging.round.messages import Envelope, LastVote, Ready

Readys = dict[str, Envelope[Ready]]


def still_possible(context: Context, position: Position, readys: Readys) -> tuple[list[LastVote], Readys]:
    """One outcome, which the ballot must then propose, or several, or none; and with whom the round goes on.

    If its bytes could not be had for a whole ballot, or nobody has shown it, and a quorum promises without having
    voted for it, it never was certified and never will be: the round goes on without those who did vote for it. So
    nobody can hold up a round by a vote for a mean that he keeps to himself, or for an outcome that he made up.
    """
    while True:
        found = bound_votes(position, context.policy, readys.values())
        if len(found) != 1 or not hoarded(context, found[0].outcome):
            return found, readys
        rest = {peer: ready for peer, ready in readys.items() if ready.message.vote != found[0]}
        if promised(position, rest.values()) < context.policy.quorum(len(position.electorate)):
            return found, readys
        readys = rest


def hoarded(context: Context, digest: bytes) -> bool:
    """Is this an outcome that cannot be voted for, as far as this peer has seen?"""
    outcome = context.outcomes.get(digest)
    if outcome is None:
        return True  # its voters send it ahead of their Ready
    lacking = [span for span in outcome.spans if not span.void and span.digest not in context.held]
    return any(outcome.roster[span.reducer] in context.suspects for span in lacking)
