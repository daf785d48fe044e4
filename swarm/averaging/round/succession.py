"""Which ballots are worth waiting for, where voters have died and come back as another incarnation.

Such a peer knows the head that its old seat votes on, which that process cannot have known before it sat there: the
process that held the seat is gone for certain. Its ballots are passed over, and where too few are left for a quorum,
the ballots of a fork come at once. Only liveness depends on it: who has not heard of a seat's end waits for its turn.
"""

from __future__ import annotations

from collections.abc import Set

from swarm.averaging.round.certificate import Position
from swarm.averaging.round.policy import Policy


def hopeless(position: Position, policy: Policy, reborn: Set[str]) -> bool:
    """Can this electorate never certify anything again (more than what it may have certified already)?"""
    size = len(position.electorate)
    return size > 0 and size - len(reborn & position.seats.keys()) < policy.quorum(size)


def living(position: Position, policy: Policy, number: int, reborn: Set[str]) -> int:
    """The first ballot from `number` on that can still have a host whom the others follow."""
    if not position.electorate or number >= policy.fork_ballots:
        return number
    if hopeless(position, policy, reborn):
        return policy.fork_ballots
    order = position.order
    while number < policy.fork_ballots and order[number % len(order)].peer in reborn:
        number += 1
    return number
