"""Which ballots are worth waiting for, where voters are gone: their process has been followed by another, or said Bye.

A peer that has died and come back knows the head that its old seat votes on, which that process cannot have known
before it sat there: the process that held the seat is gone for certain. And a process that has said Bye is Ready for no
further round and hosts no further ballot; whether it still votes is up to it. So the ballots of such seats are passed
over, and where too few are left for a quorum, the ballots of a fork come at once. Only liveness depends on it: who has
not heard of a seat's end waits for its turn, and whoever says Bye and goes on gives up its own seat and no other.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Set
from dataclasses import dataclass

from swarm.averaging.round.certificate import Position
from swarm.averaging.round.messages import Envelope, Propose, Ready, Roster
from swarm.averaging.round.policy import Policy


@dataclass
class Farewell:
    """What a Bye said, and whether the connection of its peer has broken since: then it finishes nothing any more."""

    incarnation: int
    head: bytes
    broken: bool = False


def departed(position: Position, farewells: Mapping[str, Farewell], known: Container[bytes]) -> set[str]:
    """Whose seat is that of a process that has said Bye.

    Its head need not be this one: who leaves in a round finishes it, and has a seat once more. But it must be known
    here: a Bye on another head tells of a certificate that this peer lacks, which is to be learned, not left by a fork.
    """
    return {
        peer
        for peer, farewell in farewells.items()
        if position.votes(peer, farewell.incarnation) and farewell.head in known
    }


def taking_part(roster: Envelope[Roster] | None, proposal: Envelope[Propose] | None) -> set[str]:
    """With whose Readys the host of a ballot has gone on, so far as it has said."""
    readys: tuple[Envelope[Ready], ...] = ()
    if roster is not None:
        readys = roster.message.readys
    elif proposal is not None:
        readys = proposal.message.proof or proposal.message.outcome.readys
    return {ready.message.at.peer for ready in readys}


def hopeless(position: Position, policy: Policy, vanished: Set[str]) -> bool:
    """Can this electorate never certify anything again (more than what it may have certified already)?"""
    size = len(position.electorate)
    return size > 0 and size - len(vanished & position.seats.keys()) < policy.quorum(size)


def living(position: Position, policy: Policy, number: int, vanished: Set[str]) -> int:
    """The first ballot from `number` on that can still have a host whom the others follow."""
    if not vanished or not position.electorate or number >= policy.fork_ballots:
        return number
    if hopeless(position, policy, vanished):
        return policy.fork_ballots
    order = position.order
    while number < policy.fork_ballots and order[number % len(order)].peer in vanished:
        number += 1
    return number
