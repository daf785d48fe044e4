"""What comes in: what every message must pass before a role sees it, and which role it is for.

A message is about the round that is on, or about another one, whose outcome its sender then has missed, or we have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.averaging.round.catch_up import NOBODY
from swarm.averaging.round.certificate import roster_fault
from swarm.averaging.round.context import Context
from swarm.averaging.round.events import Held, Payload
from swarm.averaging.round.messages import (
    Bye,
    Call,
    Commit,
    Envelope,
    Fetch,
    Lack,
    Mean,
    Part,
    Propose,
    Ready,
    Reduced,
    Roster,
    Vote,
)
from swarm.averaging.round.succession import Farewell

if TYPE_CHECKING:
    from swarm.averaging.round.peer import Peer

FORWARDED = (Commit, Propose)  # count from anyone; all else must come from the peer it names
TELLING = (Call, Ready, Roster, Propose, Vote)  # show that the sender has not heard of an outcome


class Dispatch:
    """peer: whose roles and log the messages are for."""

    def __init__(self, peer: Peer, context: Context) -> None:
        self.peer, self.context = peer, context

    def receive(self, now: float, sender: str, envelope: Envelope, held: Held | None) -> None:
        """What every message must pass before any role sees it."""
        message, context = envelope.message, self.context
        if message.at.run != context.run:
            context.count("foreign_run")
        elif message.at.peer != sender and not isinstance(message, FORWARDED):
            context.count("impostor")
        elif message.SIGNED and not context.verify(envelope):
            context.count("bad_signature")
        else:
            self.dispatch(now, sender, envelope, held)
            return
        self.context.refuse(held, envelope)

    def dispatch(self, now: float, sender: str, envelope: Envelope, held: Held | None) -> None:
        message = envelope.message
        if message.at.base == self.peer.log.tip.head and not isinstance(message, FORWARDED):
            self.context.notice(self.peer.log.tip, message.at.peer, message.at.incarnation)
        match message:
            case Commit():
                self.on_commit(now, sender, message)
            case Fetch():
                self.on_fetch(now, sender, message)
            case Mean():
                self.on_mean(now, sender, message, held)
            case Bye():
                self.on_bye(now, sender, message)
            case _ if message.at.base == self.peer.log.tip.head:
                self.current(now, sender, envelope, held)
            case _:
                self.elsewhere(now, sender, envelope)
                self.context.refuse(held, envelope)

    def elsewhere(self, now: float, sender: str, envelope: Envelope) -> None:
        """A message about another round: tell its sender what it missed, or ask for what we missed."""
        base = envelope.message.at.base
        if base not in self.peer.log.index:
            self.peer.catch_up.ask(now, sender)
        elif isinstance(envelope.message, TELLING):
            self.context.count("stale")
            self.peer.catch_up.remind(now, sender, base)

    def current(self, now: float, sender: str, envelope: Envelope, held: Held | None) -> None:
        """A message about the round that is on."""
        message, member, host = envelope.message, self.peer.member, self.peer.host
        at = message.at
        if at.lineage != self.peer.log.tip.lineage or at.round != self.peer.log.tip.round + 1:
            self.context.count("misplaced")
            self.context.refuse(held, envelope)
            return
        if isinstance(message, Propose):
            # also a second one: who is to say which was certified?
            self.context.remember(self.peer.log.tip, message.outcome)
        if self.context.unruly(envelope):
            return
        match message:
            case Call():
                if (at.peer, at.incarnation) == (at.ballot.host, at.ballot.incarnation):
                    member.on_call(now, at.ballot)
            case Ready() if host is not None and host.ballot == at.ballot:
                if self.context.welcome([envelope]):
                    host.on_ready(now, envelope)
            case Roster():
                self.on_roster(now, envelope)
            case Part():
                self.peer.reducer.on_part(now, sender, message, held)
            case Reduced() if host is not None:
                host.on_reduced(now, envelope)
            case Propose():
                member.on_propose(now, envelope)
            case Vote() if host is not None:
                commit = host.on_vote(now, envelope)
                if commit is not None:
                    audience = self.context.audience(self.peer.log.tip, commit.outcome.readys)
                    self.context.send(audience, commit)
                    self.peer.catch_up.have_told(now, audience, at.base)
            case Lack() if host is not None:
                host.on_lack(sender, message)

    def on_roster(self, now: float, envelope: Envelope[Roster]) -> None:
        roster, member, old = envelope.message, self.peer.member, self.peer.member.roster
        if roster_fault(self.peer.log.tip, roster, self.context.policy, self.context.verify) is not None:
            self.context.count("bad_roster")
            return
        for ready in roster.readys:
            self.context.notice(self.peer.log.tip, ready.message.at.peer, ready.message.at.incarnation)
        if not self.context.welcome(roster.readys):
            return
        if old is not None and old.message.at.ballot == roster.at.ballot and old.message.attempt >= roster.attempt:
            return
        member.on_roster(now, envelope)
        if member.roster is envelope:
            self.peer.reducer.on_roster(now, roster)

    def on_mean(self, now: float, sender: str, mean: Mean, held: Held | None) -> None:
        """Bytes count by digest: those a proposal or a commit names from anyone, others from their reducer once."""
        if held is None or held.digest != mean.digest:
            self.context.count("bad_mean")
            if held is not None:
                self.context.refuse_mean(held.digest)
            return
        proposal = self.peer.member.proposal
        named = {s.digest for s in proposal.message.outcome.spans} if proposal is not None else set()
        missing = self.peer.catch_up.missing()
        wanted = held.digest in self.context.held or held.digest in named or held.digest in missing
        if not wanted and not self.peer.member.streams(sender, mean):
            self.context.refuse_mean(held.digest)
            return
        replayed = held.digest in missing and held.digest not in named
        self.context.hold(held.digest, self.peer.log.state.round + 1 if replayed else self.peer.log.tip.round + 1)
        self.peer.member.fetching.gained(now)
        self.peer.catch_up.gained(now)
        self.peer.member.vote()
        self.peer.advance(now)

    def on_commit(self, now: float, sender: str, commit: Commit) -> None:
        member = self.peer.member
        base, called, since = self.peer.log.tip.head, member.called, member.called_at
        patience = self.context.patience(member.number)
        if not self.peer.catch_up.offer(now, sender, commit):
            return
        if commit.outcome.base == base and called is not None:
            self.context.observe(now - since, patience)
        self.peer.begin()
        self.peer.advance(now)

    def on_bye(self, now: float, sender: str, bye: Bye) -> None:
        """Who leaves is not waited for. Of strangers nothing is remembered."""
        log, context = self.peer.log, self.context
        context.visitors.pop(sender, None)
        if sender in log.tip.seats or sender in context.expected or sender in self.peer.member.rostered():
            context.say_farewell(log.tip, log.index, sender, Farewell(bye.at.incarnation, bye.at.base))
        if bye.at.base not in log.index:
            self.peer.catch_up.ask(now, sender)  # perhaps nobody else knows of that round
        self.peer.lose(now, sender)

    def on_fetch(self, now: float, sender: str, fetch: Fetch) -> None:
        """Answer a question. Whoever asks and is not in the electorate becomes a visitor: the next round calls it."""
        if not self.peer.log.tip.votes(sender, fetch.at.incarnation):
            self.context.visit(sender)
            if self.peer.host is not None:
                self.peer.host.invite(sender)
        if fetch.heads:
            self.peer.catch_up.tell(sender, fetch.heads)
            if fetch.heads[0] not in self.peer.log.index:
                self.peer.catch_up.ask(now, sender)
        header = self.context.header(self.peer.log.tip, NOBODY)
        for digest in fetch.digests:
            if digest in self.context.held:
                self.context.send([sender], Mean(header, 0, digest), Payload("mean", digest))
        if fetch.spans and fetch.at.base == self.peer.log.tip.head and fetch.at.ballot == self.peer.member.called:
            spans = [span for span in fetch.spans if span < self.context.policy.spans]
            self.peer.member.send_parts(spans, [sender] * self.context.policy.spans)
