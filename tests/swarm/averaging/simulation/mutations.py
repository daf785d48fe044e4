"""Protocol cores with one mistake each. The simulation has to find every one of them, or its checks check nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from swarm.averaging.round.certificate import Position
from swarm.averaging.round.context import Context
from swarm.averaging.round.events import Release
from swarm.averaging.round.host import Host
from swarm.averaging.round.member import Member
from swarm.averaging.round.messages import Ballot, Envelope, LastVote, Outcome, Ready
from swarm.averaging.round.pledges import Pledge
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.reducer import Reducer
from swarm.averaging.simulation.machine import Machine
from swarm.averaging.simulation.world import World

Mutation = Callable[[pytest.MonkeyPatch], None]
MUTATIONS: dict[str, Mutation] = {}


def mutation(mutate: Mutation) -> Mutation:
    MUTATIONS[mutate.__name__] = mutate
    return mutate


@mutation
def vote_before_holding(patch: pytest.MonkeyPatch) -> None:
    """A member votes for a proposal whose bytes it does not have yet."""
    patch.setattr(Member, "missing", lambda self, outcome: [])


@mutation
def quorum_minus_one(patch: pytest.MonkeyPatch) -> None:
    right = Policy.quorum
    patch.setattr(Policy, "quorum", lambda self, electorate: max(1, right(self, electorate) - 1))


@mutation
def ignored_promises(patch: pytest.MonkeyPatch) -> None:
    """A member follows whichever ballot it heard of last, and forgets that it promised a higher one."""

    def reach(self: Member, now: float, ballot: Ballot) -> bool:
        self.open(now)
        if ballot != self.called and self.acceptable(ballot):
            self.accept(now, ballot)
        return ballot == self.called

    patch.setattr(Member, "reach", reach)
    patch.setattr(Pledge, "promised", property(lambda self: None, lambda self, value: None))


@mutation
def residual_adopted_early(patch: pytest.MonkeyPatch) -> None:
    """A sender takes its new residual when it votes, and not when the certificate is there."""
    vote, settle = Member.vote, Member.settle
    early: set[int] = set()

    def voting(self: Member) -> None:
        before = self.pledge.cast
        vote(self)
        if self.pledge.cast is not before and self.proposal is not None and id(self) not in early:
            settle(self, self.proposal.message.outcome)
            early.add(id(self))

    def settling(self: Member, outcome: Outcome | None) -> None:
        if id(self) not in early:
            settle(self, outcome)

    patch.setattr(Member, "vote", voting)
    patch.setattr(Member, "settle", settling)


@mutation
def forgotten_incarnation(patch: pytest.MonkeyPatch) -> None:
    """A seat is a peer's, whatever its incarnation: who restarted votes again without knowing of its first vote."""
    patch.setattr(Position, "votes", lambda self, peer, incarnation: peer in self.seats)


@mutation
def same_incarnation(patch: pytest.MonkeyPatch) -> None:
    """A peer that restarts takes itself for the one that it was before."""
    new = World.incarnation

    def old(self: World, machine: Machine) -> int:
        return machine.incarnation or new(self, machine)

    patch.setattr(World, "incarnation", old)


@mutation
def vote_not_binding(patch: pytest.MonkeyPatch) -> None:
    """A new ballot proposes what it likes, whatever was voted for before."""
    for place in ("binding", "certificate"):
        patch.setattr(f"swarm.averaging.round.{place}.bound_votes", lambda parent, policy, proof: [])


@mutation
def proposal_by_digest(patch: pytest.MonkeyPatch) -> None:
    """Where a host has signed two proposals, the next one takes whichever has the higher digest."""

    def highest(parent: Position, policy: Policy, proof: Collection[Envelope[Ready]]) -> list[LastVote]:
        votes = [ready.message.vote for ready in proof if ready.message.vote and ready.message.at.peer in parent.seats]
        return [max(votes)] if votes else []

    for place in ("binding", "certificate"):
        patch.setattr(f"swarm.averaging.round.{place}.bound_votes", highest)


@mutation
def foreign_residual(patch: pytest.MonkeyPatch) -> None:
    """A reducer takes the residual of its mean although another's mean was chosen."""
    patch.setattr(Reducer, "chosen", lambda self, outcome, span, digest: not outcome.spans[span].void)


@mutation
def short_history(patch: pytest.MonkeyPatch) -> None:
    """The means of a round are let go of as soon as they are applied here."""

    def release(self: Context, outcome: Outcome) -> None:
        gone, self.held = tuple(self.held), {}
        self.fresh.clear()
        self.emit(Release("mean", gone))

    patch.setattr(Context, "release_means", release)


@mutation
def weights_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("swarm.averaging.round.reducer.effective_weights", lambda weights, cap: [1.0] * len(weights))


@mutation
def endless_patience(patch: pytest.MonkeyPatch) -> None:
    """Members wait for a host that has died."""
    patch.setattr(Member, "extend", lambda self, now, phases: setattr(self, "deadline", now + 3600.0))


@mutation
def dead_seats_awaited(patch: pytest.MonkeyPatch) -> None:
    """Nobody concludes anything from meeting another incarnation of a voter."""
    patch.setattr(Context, "notice", lambda self, position, peer, incarnation: None)


@mutation
def one_gone_all_given_up(patch: pytest.MonkeyPatch) -> None:
    """Where one voter has left or come back as another, the others fork, though they are a quorum."""
    right = Host.quorate
    for place in ("succession", "host"):
        patch.setattr(f"swarm.averaging.round.{place}.hopeless", lambda position, policy, vanished: bool(vanished))
    patch.setattr(Host, "quorate", lambda self: right(self) and self.ballot.number < self.context.policy.fork_ballots)


@mutation
def early_fork(patch: pytest.MonkeyPatch) -> None:
    """Whoever finds no quorum in the first ballot goes on with those who are there, and they vote for it."""
    patch.setattr(Policy, "fork_ballots", property(lambda self: 0, lambda self, value: None))


@mutation
def parts_known_by_their_bytes(patch: pytest.MonkeyPatch) -> None:
    """A lane takes two spans of equal bytes for one, and sends one of them."""
    right = World.takes
    patch.setattr(World, "takes", lambda self, source, to, payload: right(self, source, to, payload._replace(span=0)))
