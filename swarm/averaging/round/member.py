"""The member: gives its contribution to a round, promises, gathers the means, and votes only for what it holds.

computing --Call--> ready --Roster--> exchanging --all bytes of Propose--> voted. The certificate ends it in any state.
A `Pledge` outlives the member: what this incarnation promised and voted in one round is never contradicted.
"""

from __future__ import annotations

import math

from swarm.averaging.round import merkle
from swarm.averaging.round.certificate import Position, host_of, proposal_fault, voters_of
from swarm.averaging.round.context import Context
from swarm.averaging.round.events import Contribute, Encode, Payload, Settle
from swarm.averaging.round.fetching import Fetching
from swarm.averaging.round.messages import (
    Ballot,
    Envelope,
    LastVote,
    Mean,
    Outcome,
    Part,
    Propose,
    Ready,
    Roster,
    Vote,
)
from swarm.averaging.round.pledges import Pledge
from swarm.averaging.round.succession import living, taking_part


class Member:
    def __init__(self, context: Context, position: Position, pledge: Pledge) -> None:
        self.context, self.position, self.pledge = context, position, pledge
        self.number = 0  # the ballot this peer waits for or takes part in
        self.opened: float | None = None
        self.deadline = math.inf
        self.called: Ballot | None = None
        self.called_at = 0.0
        self.ready: Envelope[Ready] | None = None
        self.gift: Contribute | None = None
        self.tree: list[list[bytes]] = []
        self.encoding = False
        self.roster: Envelope[Roster] | None = None
        self.proposal: Envelope[Propose] | None = None
        self.fetching = Fetching(context, position)
        self.ahead: Ballot | None = None
        self.streamed: set[tuple[Ballot, int, str]] = set()  # means that came unasked

    # --- waiting -----------------------------------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """The round is on: from here on this peer waits with a deadline."""
        if self.opened is None:
            self.opened = now
            self.extend(now, 1.5)

    def pause(self) -> None:
        """Another round has become the current one; if this one comes back, it opens anew."""
        self.opened, self.deadline = None, math.inf
        self.fetching.stop()

    def extend(self, now: float, phases: float) -> None:
        bandwidths = [r.message.bandwidth for r in self.roster.message.readys] if self.roster else []
        self.deadline = now + phases * self.context.patience(self.number, bandwidths)

    def tick(self, now: float) -> bool:
        """Fetch what is missing, give up on a silent ballot. True: the next ballot is this peer's to host."""
        if now >= self.fetching.at and self.proposal is not None:
            self.fetching.ask(now, self.proposal.message, self.missing(self.proposal.message.outcome))
        if self.opened is not None and self.vacant():
            return self.go_on(now, self.number)
        if now < self.deadline:
            return False
        if self.proposal is not None:
            outcome = self.proposal.message.outcome
            self.context.suspects.update(outcome.roster[outcome.spans[i].reducer] for i in self.missing(outcome))
        self.context.count("ballot_timeout")
        return self.go_on(now, self.number + 1)

    def rostered(self) -> set[str]:
        """Who takes part in the ballot that is under way, as its host has said."""
        under_way = self.called is not None and self.called.number == self.number
        return taking_part(self.roster, self.proposal) if under_way else set()

    def vanished(self) -> set[str]:
        return self.context.vanished(self.rostered() if self.context.left else ())

    def following(self, number: int) -> int:
        return living(self.position, self.context.policy, number, self.vanished())

    def vacant(self) -> bool:
        """Is this a ballot in which nothing can be decided any more? What a living host has proposed still may be."""
        if self.following(self.number) == self.number:
            return False
        if self.called is None or self.called.number != self.number or self.proposal is None:
            return True
        return self.called.host in self.vanished()

    def go_on(self, now: float, number: int) -> bool:
        """To the first ballot from here on that may have a host. True: it is this peer's to host."""
        self.number = number  # the ballot before is over: its roster keeps no seat from being empty
        self.number = self.following(number)
        if self.number > number:
            self.context.count("ballot_passed_over")
            self.context.passed_over += self.number - number
        self.extend(now, 1.5)
        if self.ahead is not None and self.acceptable(self.ahead):
            ballot, self.ahead = self.ahead, None
            self.accept(now, ballot)
            return False
        host = host_of(self.position, self.context.policy, self.number, self.context.candidates(self.position))
        return host == self.context.me.peer

    # --- ballots -----------------------------------------------------------------------------------------------------

    def acceptable(self, ballot: Ballot) -> bool:
        """Is this ballot its host's turn, and not too far ahead of what this peer has given up on?"""
        policy, position = self.context.policy, self.position
        if self.too_far(ballot):
            return False
        if position.electorate and ballot.number < policy.fork_ballots:
            seat = position.order[ballot.number % len(position.order)]
            return (seat.peer, seat.incarnation) == (ballot.host, ballot.incarnation)
        return True

    def too_far(self, ballot: Ballot) -> bool:
        return ballot.number > self.following(self.number + 1)

    def reach(self, now: float, ballot: Ballot) -> bool:
        """Come to this ballot if it is the highest acceptable one; False if it is not ours to follow."""
        self.open(now)
        if ballot == self.called:
            return True
        if self.pledge.promised is not None and ballot < self.pledge.promised:
            self.context.count("old_ballot")
            return False
        if self.called is not None and ballot < self.called:
            return False
        if not self.acceptable(ballot):
            if self.too_far(ballot):
                self.ahead = max(self.ahead, ballot) if self.ahead else ballot
            return False
        self.accept(now, ballot)
        return True

    def accept(self, now: float, ballot: Ballot) -> None:
        self.called, self.number, self.called_at = ballot, ballot.number, now
        self.roster = self.proposal = None
        self.fetching.stop()
        self.extend(now, 1.5)
        self.answer(now)

    def contribute(self, now: float, gift: Contribute) -> None:
        if self.gift is None:
            self.gift = gift
            self.tree = merkle.levels(gift.digests) if gift.digests else []
            self.answer(now)

    def answer(self, now: float) -> None:
        """Ready for the ballot called, which promises to ignore lower ones; the same bytes if asked again."""
        context, ballot = self.context, self.called
        if ballot is None or context.lagging or (self.pledge.promised is not None and ballot < self.pledge.promised):
            return
        if context.gone and self.ready is None:
            return
        if self.gift is None:
            if not self.encoding:
                self.encoding = True
                context.emit(Encode(self.position.head, self.position.round + 1))
            return
        if self.ready is None or self.ready.message.at.ballot != ballot:
            gift, me = self.gift, context.me
            self.pledge.promised = ballot
            self.ready = context.seal(
                Ready(
                    context.header(self.position, ballot),
                    weight=gift.weight if gift.digests else 0.0,
                    samples=gift.samples,
                    bandwidth=me.bandwidth,
                    full=me.full,
                    root=self.tree[-1][0] if self.tree else merkle.EMPTY,
                    state=gift.state,
                    vote=self.pledge.vote,
                    invitation=context.crypto.door.shown(),
                )
            )
            self.extend(now, 1.5)
        if self.pledge.vote is not None and self.pledge.proposal is not None:
            context.send([ballot.host], self.pledge.proposal)
        context.send([ballot.host], self.ready)

    def on_call(self, now: float, ballot: Ballot) -> None:
        again = ballot == self.called
        if self.reach(now, ballot) and again:
            self.answer(now)

    # --- exchange ----------------------------------------------------------------------------------------------------

    def on_roster(self, now: float, envelope: Envelope[Roster]) -> None:
        """Send my parts: all of them at first, those of reassigned spans again."""
        if not self.reach(now, envelope.message.at.ballot):
            return
        before, self.roster = self.roster, envelope
        self.extend(now, 3.5)
        old = before.message.reducers if before is not None else ()
        changed = [s for s, who in enumerate(envelope.message.reducers) if s >= len(old) or old[s] != who]
        if any(ready.message.at.peer == self.context.me.peer for ready in envelope.message.readys):
            self.send_parts(changed, [envelope.message.readys[r].message.at.peer for r in envelope.message.reducers])

    def send_parts(self, spans: list[int], to: list[str]) -> None:
        if self.gift is None or self.gift.weight <= 0 or self.called is None:
            return
        header = self.context.header(self.position, self.called)
        for span in spans:
            digest = self.gift.digests[span]
            part = Part(header, span, digest, merkle.path(self.tree, span))
            self.context.send([to[span]], part, Payload("part", digest, span))

    def on_propose(self, now: float, envelope: Envelope[Propose]) -> None:
        """Check a proposal of the ballot promised; vote as soon as every byte is here."""
        ballot = envelope.message.at.ballot
        if not self.reach(now, ballot):
            return
        if self.pledge.cast is not None and self.pledge.cast.message.at.ballot == ballot:
            self.context.send([ballot.host], self.pledge.cast)
            return
        fault = proposal_fault(self.position, envelope.message, self.context.policy, self.context.verify)
        if fault is not None:
            self.context.count(f"propose_{fault}")
            return
        if not self.context.welcome(envelope.message.outcome.readys):
            return
        self.context.outcomes[envelope.message.outcome.digest] = envelope.message.outcome
        self.proposal = envelope
        self.extend(now, 2.0)
        self.fetching.begin(now)
        self.vote()

    def streams(self, sender: str, mean: Mean) -> bool:
        """Is this the one mean of a span of the current ballot that its reducer may send unasked?"""
        roster = self.roster
        if roster is None or mean.span >= len(roster.message.reducers) or mean.at.ballot != roster.message.at.ballot:
            return False
        key = (mean.at.ballot, mean.span, sender)
        reducer = roster.message.readys[roster.message.reducers[mean.span]].message.at.peer
        if reducer != sender or key in self.streamed:
            return False
        self.streamed.add(key)
        return True

    def missing(self, outcome: Outcome) -> list[int]:
        return [i for i, span in enumerate(outcome.spans) if not span.void and span.digest not in self.context.held]

    def vote(self) -> None:
        """Vote for the proposal if every byte of it is here and no higher ballot was promised since."""
        if self.proposal is None or self.missing(self.proposal.message.outcome):
            return
        self.fetching.stop()
        context, me = self.context, self.context.me
        outcome, ballot = self.proposal.message.outcome, self.proposal.message.at.ballot
        if self.pledge.promised is not None and ballot < self.pledge.promised:
            return
        if not voters_of(self.position, outcome).votes(me.peer, me.incarnation):
            return
        if self.pledge.cast is not None and self.pledge.cast.message.at.ballot >= ballot:
            return
        self.pledge.promised = ballot
        self.pledge.cast = context.seal(Vote(context.header(self.position, ballot), outcome.digest))
        if not outcome.fork:
            self.pledge.vote, self.pledge.proposal = LastVote(ballot, outcome.digest), self.proposal
        context.send([ballot.host], self.pledge.cast)

    # --- after the certificate ---------------------------------------------------------------------------------------

    def included(self, outcome: Outcome) -> int | None:
        """My roster index if `outcome` counts on the very contribution I hold."""
        index, me = outcome.index(self.context.me.peer), self.context.me
        if index is None or self.gift is None or not self.tree:
            return None
        ready = outcome.readys[index].message
        return index if (ready.at.incarnation, ready.root) == (me.incarnation, self.tree[-1][0]) else None

    def settle(self, outcome: Outcome | None) -> None:
        """Tell what becomes of the sender's residual, span by span. No outcome: this contribution is given up."""
        emit, base = self.context.emit, self.position.head
        index = self.included(outcome) if outcome is not None else None
        if self.gift is not None and self.gift.digests:
            for span in range(len(self.gift.digests)):
                adopted = outcome is not None and index is not None and outcome.spans[span].has(index)
                emit(Settle("sender", "adopt" if adopted else "keep", span, base))
        if outcome is None or index is not None:
            return
        forgotten = outcome.index(self.context.me.peer)
        for span, result in enumerate(outcome.spans):
            if forgotten is not None and result.has(forgotten):
                emit(Settle("sender", "reset", span, base))
