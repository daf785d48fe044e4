"""The host of one ballot: calls, rosters, assigns, collects what was reduced, proposes once, collects votes.

calling --all or deadline--> rostered --all Reduced or deadline--> proposed --quorum of Vote--> Commit to all. It needs
the Readys of a quorum, also in ballot 0 (simpler than an exception, and as fast, since the votes need a quorum anyway).
Without a quorum it ends, or, from the first fork ballot on, goes on with who was Ready as a new lineage; likewise where
an earlier host's two proposals leave open which of them was certified.
"""

from __future__ import annotations

from typing import Literal

from swarm.averaging.round.assign import assign, carriers, shares
from swarm.averaging.round.binding import still_possible
from swarm.averaging.round.certificate import Position, fork_lineage, implausible, promised, voters_of
from swarm.averaging.round.context import Context
from swarm.averaging.round.events import Payload
from swarm.averaging.round.messages import (
    VOID,
    Ballot,
    Call,
    Commit,
    Envelope,
    Lack,
    LastVote,
    Mean,
    Outcome,
    Propose,
    Ready,
    Reduced,
    Roster,
    SpanOutcome,
    Vote,
)
from swarm.averaging.round.policy import Gathering
from swarm.averaging.round.succession import hopeless

Phase = Literal["calling", "rostered", "proposed", "over"]


class Host:
    def __init__(self, context: Context, position: Position, number: int) -> None:
        self.context, self.position = context, position
        self.ballot = Ballot(number, context.me.peer, context.me.incarnation)
        self.phase: Phase = "calling"
        self.readys: dict[str, Envelope[Ready]] = {}
        self.fork = False
        self.reducers: tuple[int, ...] = ()
        self.assigned: set[tuple[int, int]] = set()  # (span, roster index), over both attempts
        self.attempt = 0
        self.reduced: dict[int, tuple[int, Reduced]] = {}  # span -> (roster index of its reducer, its message)
        self.proposal: Envelope[Propose] | None = None
        self.votes: dict[str, Envelope[Vote]] = {}
        self.call: Envelope[Call] | None = None
        self.gathering: Gathering
        self.nudge_at = 0.0

    # --- calling -----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Call everyone; expect the electorate without leavers, and the announced joiners."""
        context = self.context
        present = {seat.peer: seat.weight for seat in self.position.electorate}
        usual = sum(present.values()) / len(present) if present else 1.0
        expected = {
            peer: max(present.get(peer, usual), 1e-3 * usual, 1e-9)
            for peer in context.audience(self.position)
            if peer not in context.leaving
        }
        self.wait(now, expected, context.patience(self.ballot.number))
        self.gathering.least = context.boundary if self.ballot.number == 0 else 0.0
        self.call = context.seal(Call(context.header(self.position, self.ballot)))
        context.send(context.audience(self.position), self.call)

    def wait(self, now: float, expected: dict[str, float], limit: float, factor: float | None = None) -> None:
        policy = self.context.policy
        self.gathering = Gathering(policy, now, expected, limit, factor or policy.cut_factor)
        self.nudge_at = now + limit / 2

    def invite(self, peer: str) -> None:
        """Somebody new knocks while the roster is open."""
        if self.phase == "calling" and self.call is not None and peer not in self.readys:
            self.context.send([peer], self.call)

    def on_ready(self, now: float, envelope: Envelope[Ready]) -> None:
        peer = envelope.message.at.peer
        if self.phase != "calling" or peer in self.readys or envelope.message.at.ballot != self.ballot:
            return
        self.readys[peer] = envelope
        self.gathering.arrive(now, peer)
        self.tick(now)

    def quorate(self) -> bool:
        votes = promised(self.position, self.readys.values())
        return bool(self.position.electorate) and votes >= self.context.policy.quorum(len(self.position.electorate))

    def founding(self) -> bool:
        """Is a quorum not to be waited for: there never was one, or it never comes and nobody else is to come?"""
        position, context = self.position, self.context
        return not position.electorate or (
            self.gathering.complete and hopeless(position, context.policy, context.vanished())
        )

    def tick(self, now: float) -> None:
        if self.phase == "calling":
            expired = now >= self.gathering.start + self.gathering.limit
            if self.gathering.over(now) and (self.quorate() or self.founding() or expired):
                self.assemble(now)
            elif now >= self.nudge_at and self.call is not None:
                self.context.send(sorted(self.gathering.missing), self.call)
        elif self.phase == "rostered" and self.gathering.over(now):
            self.reassign(now) if not self.gathering.complete and self.attempt == 0 else self.propose(now)
        elif self.phase == "proposed":
            if now >= self.gathering.start + self.gathering.limit:
                self.phase = "over"
            elif now >= self.nudge_at and self.proposal is not None:
                self.context.send(sorted(self.gathering.missing), self.proposal)
        if now >= self.nudge_at:
            self.nudge_at = now + self.gathering.limit

    def wakes(self) -> list[float]:
        if self.phase == "over":
            return []
        hard = self.gathering.start + self.gathering.limit
        waiting = [hard, self.nudge_at]
        return waiting if self.phase == "proposed" else [*waiting, self.gathering.closes]

    def lose(self, now: float, peer: str) -> None:
        """A broken connection: expect nothing more from it, and reassign what it was reducing."""
        if self.phase == "rostered":
            self.gathering_without(peer)
        elif self.phase != "over":
            self.gathering.lose(peer)
        self.tick(now)

    @property
    def names(self) -> list[str]:
        """Of who is Ready, in roster order."""
        return sorted(self.readys)

    def gathering_without(self, peer: str) -> None:
        names = self.names
        mine = {str(s) for s, r in enumerate(self.reducers) if names[r] == peer}
        if self.gathering.missing and mine >= set(self.gathering.missing):
            self.gathering.closes = 0.0  # only the lost peer's spans are outstanding

    # --- rostered ----------------------------------------------------------------------------------------------------

    def assemble(self, now: float) -> None:
        """Fix the roster; or propose again what may have been certified; or end for lack of a quorum."""
        context = self.context
        fork = not self.quorate()
        early = self.position.electorate and self.ballot.number < context.policy.fork_ballots
        if not self.readys or (fork and early):
            self.phase = "over"
            context.count("no_quorum")
            return
        bound: list[LastVote] = []
        if not fork:
            bound, self.readys = still_possible(context, self.position, self.readys)
        if len(bound) > 1 and self.gathering.missing and now < self.gathering.start + self.gathering.limit:
            return  # with one more Ready it may be possible to tell
        for peer in [*self.gathering.missing]:
            context.visitors.pop(peer, None)
        if len(bound) == 1:
            self.repropose(now, bound[0].outcome)
            return
        if bound:
            context.count("contradicted_ballot")
            if early:
                self.phase = "over"
                return
        self.fork = fork or bool(bound)
        self.announce(now, self.assignment())

    def assignment(self) -> tuple[int, ...]:
        """The reducer (roster index) of each span: spans stay where they were, as far as shares allow."""
        context, names = self.context, self.names
        readys = [self.readys[name].message for name in names]
        before = [names.index(owner) if owner in names else None for owner in context.owners]
        fractions = shares(carriers(readys, context.suspects, self.position.seats))
        return assign(context.policy.spans, fractions, before)

    def announce(self, now: float, reducers: tuple[int, ...]) -> None:
        context, names = self.context, self.names
        self.phase, self.reducers = "rostered", reducers
        self.assigned.update(enumerate(reducers))
        readys = tuple(self.readys[name] for name in names)
        patience = context.patience(self.ballot.number, [r.message.bandwidth for r in readys])
        outstanding = {str(s): 1.0 for s in range(len(reducers)) if s not in self.reduced}
        self.wait(now, outstanding, context.policy.host_margin * patience, context.policy.host_cut_factor)
        roster = Roster(context.header(self.position, self.ballot), self.attempt, readys, reducers, patience)
        context.send(names, roster)

    def on_reduced(self, now: float, envelope: Envelope[Reduced]) -> None:
        """The first usable report on a span wins; the outcome names digests, so a late reducer harms nothing."""
        message, names = envelope.message, self.names
        if self.phase != "rostered" or message.span >= len(self.reducers) or message.span in self.reduced:
            return
        index = names.index(message.at.peer) if message.at.peer in names else -1
        assigned = (message.span, index) in self.assigned and message.at.ballot == self.ballot
        if not assigned or implausible(message, [self.readys[name] for name in names]):
            self.context.count("bad_reduced")
            return
        self.reduced[message.span] = (index, message)
        self.gathering.arrive(now, str(message.span))
        self.tick(now)

    def reassign(self, now: float) -> None:
        """Once: give the stalled spans to peers that have delivered."""
        names, context = self.names, self.context
        stalled = {int(span) for span in self.gathering.missing}
        slow = {self.reducers[span] for span in stalled}
        context.suspects.update(names[index] for index in slow)
        able = [i for i, n in enumerate(names) if self.readys[n].message.full and n not in context.suspects]
        if not able:
            self.propose(now)
            return
        self.attempt = 1
        context.count("reassigned")
        spread = {span: able[k % len(able)] for k, span in enumerate(sorted(stalled))}
        self.announce(now, tuple(spread.get(s, r) for s, r in enumerate(self.reducers)))

    # --- proposed ----------------------------------------------------------------------------------------------------

    def propose(self, now: float) -> None:
        """The one proposal of this ballot: what was reduced, and void for the rest."""
        context, position = self.context, self.position
        lineage = fork_lineage(position.head, self.ballot) if self.fork else position.lineage
        spans = [VOID] * len(self.reducers)
        for span, (index, message) in self.reduced.items():
            if message.digest:
                spans[span] = SpanOutcome(message.digest, index, message.senders)
        readys = tuple(self.readys[name] for name in self.names)
        place = (context.run, lineage, position.round + 1, position.head, self.ballot)
        self.submit(now, Outcome(*place, self.fork, readys, tuple(spans)), ())

    def repropose(self, now: float, digest: bytes) -> None:
        """Finish an earlier ballot's outcome, which may be certified somewhere, with this ballot's Readys as proof."""
        outcome = self.context.outcomes.get(digest)
        if outcome is None:
            self.phase = "over"  # its voters send it along with their Ready; the next host asks again
            self.context.count("unknown_outcome")
            return
        self.submit(now, outcome, tuple(self.readys[name] for name in self.names))

    def submit(self, now: float, outcome: Outcome, proof: tuple[Envelope[Ready], ...]) -> None:
        context = self.context
        self.phase = "proposed"
        audience = context.audience(self.position, outcome.readys)
        self.proposal = context.seal(Propose(context.header(self.position, self.ballot), outcome, proof))
        voters = {seat.peer: 1.0 for seat in voters_of(self.position, outcome).electorate}
        bandwidths = [ready.message.bandwidth for ready in outcome.readys]
        self.wait(now, voters, 2 * context.patience(self.ballot.number, bandwidths))
        context.send(audience, self.proposal)

    def on_vote(self, now: float, envelope: Envelope[Vote]) -> Commit | None:
        """The commit, once a quorum has voted."""
        at = envelope.message.at
        if self.phase != "proposed" or self.proposal is None or at.ballot != self.ballot:
            return None
        outcome = self.proposal.message.outcome
        voters = voters_of(self.position, outcome)
        if envelope.message.outcome != outcome.digest or not voters.votes(at.peer, at.incarnation):
            self.context.count("bad_vote")
            return None
        self.votes[at.peer] = envelope
        self.gathering.arrive(now, at.peer)
        if len(self.votes) < self.context.policy.quorum(len(voters.electorate)):
            return None
        self.phase = "over"
        votes = tuple(self.votes[peer] for peer in sorted(self.votes))
        return Commit(self.context.header(self.position, self.ballot), outcome, votes, outcome.round)

    def on_lack(self, sender: str, lack: Lack) -> None:
        """Help out with the bytes this peer holds itself."""
        if self.proposal is None or lack.at.ballot != self.ballot:
            return
        outcome = self.proposal.message.outcome
        for span in lack.spans:
            if span < len(outcome.spans) and outcome.spans[span].digest in self.context.held:
                digest = outcome.spans[span].digest
                mean = Mean(self.context.header(self.position, self.ballot), span, digest)
                self.context.send([sender], mean, Payload("mean", digest))
