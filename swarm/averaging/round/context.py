"""What the three roles of one peer share: who it is, what it holds, what it has heard, and where effects go."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from swarm.averaging.round.certificate import Position, outcome_fault
from swarm.averaging.round.events import Count, Effect, Held, Payload, Proof, Release, Send
from swarm.averaging.round.messages import (
    DOMAIN,
    Ballot,
    Call,
    Envelope,
    Header,
    Message,
    Outcome,
    Part,
    Propose,
    Ready,
    Reduced,
    Roster,
    Vote,
    seal,
)
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.succession import Farewell, departed


@dataclass(frozen=True)
class Door:
    """Who may take part. In an open run nobody shows anything. None of these ever raises."""

    invited: Callable[[str, bytes], bool] = lambda peer, shown: not shown  # did the owner sign this, whenever it was?
    welcome: Callable[[str], bool] = lambda peer: (
        True
    )  # as far as this peer knows now: never asked of what is certified
    shown: Callable[[], bytes] = bytes  # this peer's own invitation


@dataclass(frozen=True)
class Crypto:
    """Injected: Ed25519 in a peer, a keyed hash in the simulation."""

    sign: Callable[[bytes], bytes]
    verify: Callable[[str, bytes, bytes], bool]  # (peer id, data, signature); never raises
    door: Door = Door()


@dataclass(frozen=True)
class Self:
    """This peer. `incarnation` is random, made anew at every start of the process."""

    peer: str
    incarnation: int
    bandwidth: float = 0.0
    full: bool = True


@dataclass
class Context:
    run: bytes
    me: Self
    policy: Policy
    crypto: Crypto
    out: list[Effect] = field(default_factory=list)
    loop: deque[tuple[Envelope, Payload | None]] = field(default_factory=deque)
    gone: bool = False  # this peer is leaving
    lagging: bool = False  # certified rounds are not applied yet: nothing can be contributed
    held: dict[bytes, int] = field(default_factory=dict)  # digest of a mean in the store -> round it is kept for
    fresh: set[bytes] = field(default_factory=set)  # of these, what no certified round has named yet
    parts: Counter[bytes] = field(default_factory=Counter)  # digest in the "part" store -> who here needs it
    last_seconds: float | None = None  # how long the last round took here, as far as that is the swarm's speed
    expected: set[str] = field(default_factory=set)  # announced by the progress records
    visitors: OrderedDict[str, None] = field(default_factory=OrderedDict)  # asked us something, not in the electorate
    leaving: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)  # of the electorate, nothing was heard of them when the round was due
    reborn: set[str] = field(default_factory=set)  # of the electorate, whose process has been followed by another
    farewells: dict[str, Farewell] = field(default_factory=dict)  # of who has a seat or may get one in this round
    left: set[str] = field(default_factory=set)  # of the electorate, whose process has said Bye
    passed_over: int = 0  # ballots of this round for which nobody waited, since their hosts are gone
    boundary: float = 0.0  # seconds from then until the micro-batches end that are worth waiting for
    suspects: set[str] = field(default_factory=set)  # reducers whose bytes did not come, in this round
    outcomes: dict[bytes, Outcome] = field(default_factory=dict)  # proposals of this round by digest
    owners: tuple[str, ...] = ()  # who reduced each span in the last round
    _verified: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _said: dict[tuple[object, ...], Envelope] = field(default_factory=dict)
    _said_bytes: int = 0
    _proofs: int = 0

    def emit(self, effect: Effect) -> None:
        self.out.append(effect)

    def count(self, name: str) -> None:
        self.out.append(Count(name))

    def header(self, position: Position, ballot: Ballot) -> Header:
        me = self.me
        return Header(self.run, position.lineage, position.round + 1, position.head, ballot, me.peer, me.incarnation)

    def seal(self, message: Message) -> Envelope:
        return seal(message, self.crypto.sign)

    def send(self, to: Iterable[str], message: Message | Envelope, payload: Payload | None = None) -> None:
        """One envelope, encoded once, to each of `to`; what goes to this peer itself takes the short way."""
        envelope = message if isinstance(message, Envelope) else self.seal(message)
        for peer in to:
            if peer == self.me.peer:
                self.loop.append((envelope, payload))
            else:
                self.out.append(Send(peer, envelope.wire, payload))

    def verify(self, envelope: Envelope) -> bool:
        """Is this signed by the peer that it names? Remembered, since a Ready comes in several messages."""
        key = envelope.signed_digest
        if key in self._verified:
            return True
        message = envelope.message
        if isinstance(message, Ready) and not self.crypto.door.invited(message.at.peer, message.invitation):
            return False
        if not self.crypto.verify(message.at.peer, DOMAIN + envelope.body, envelope.signature):
            return False
        self._verified[key] = None
        if len(self._verified) > 8192:
            self._verified.popitem(last=False)
        return True

    def welcome(self, readys: Iterable[Envelope[Ready]]) -> bool:
        """Would this peer let all of these in? Only asked before it votes: a certificate counts whoever is in it."""
        if all(self.crypto.door.welcome(ready.message.at.peer) for ready in readys):
            return True
        self.count("not_invited")
        return False

    def contradicts(self, envelope: Envelope, *place: object) -> bool:
        """Has its peer signed something else for this place? Then both are kept as proof."""
        at = envelope.message.at
        key = (type(envelope.message), at.peer, at.incarnation, at.base, at.ballot, *place)
        first = self._said.get(key)
        if first is None:
            if self._said_bytes + len(envelope.body) <= self.policy.said_bytes:
                self._said[key] = envelope
                self._said_bytes += len(envelope.body)
            return False
        if first.body == envelope.body:
            return False
        self.count("equivocation")
        self._proofs += 1
        if self._proofs <= self.policy.proofs:
            self.emit(Proof(at.peer, first, envelope))
        return True

    def unruly(self, envelope: Envelope) -> bool:
        """A host's or voter's second, different message for one place is refused and kept as proof."""
        match envelope.message:
            case Call() | Ready() | Propose() | Vote():
                return self.contradicts(envelope)
            case Roster() as roster:
                return self.contradicts(envelope, roster.attempt)
            case Reduced() as reduced:
                return self.contradicts(envelope, reduced.span)
        return False

    def remember(self, position: Position, outcome: Outcome) -> None:
        """Keep a proposed outcome: if its host dies, this peer may have to propose it again."""
        room = len(self.outcomes) < self.policy.proofs and outcome.digest not in self.outcomes
        if room and outcome_fault(position, outcome, self.policy, self.verify) is None:
            self.outcomes[outcome.digest] = outcome

    def new_round(self, position: Position, known: Container[bytes]) -> None:
        """Forget what only mattered for the round that was decided. known: the heads of the log."""
        self.reborn, self.passed_over = set(), 0
        self.leaving &= position.seats.keys()  # whoever comes back later is welcome
        self.farewells = {p: said for p, said in self.farewells.items() if position.votes(p, said.incarnation)}
        self.left = departed(position, self.farewells, known)
        self.notice(position, self.me.peer, self.me.incarnation)
        self._said.clear()
        self._said_bytes = 0
        self.suspects.clear()
        self.outcomes.clear()

    def notice(self, position: Position, peer: str, incarnation: int) -> None:
        """This peer knows the position's head, in this incarnation: is it the one that votes there?"""
        seat = position.seats.get(peer)
        if seat is not None and seat.incarnation != incarnation and peer not in self.reborn:
            self.reborn.add(peer)
            self.leaving.discard(peer)  # it left, perhaps, and is back
            self.count("seat_reborn")

    def say_farewell(self, position: Position, known: Container[bytes], peer: str, said: Farewell) -> None:
        """Nobody waits for this peer any more, and its seat is empty as soon as it is in no round under way."""
        self.leaving.add(peer)
        self.farewells[peer] = said
        self.left = departed(position, self.farewells, known)

    def vanished(self, busy: Container[str] = ()) -> set[str]:
        """Of the electorate, who decides nothing any more. busy: they may finish what they are in, while in touch."""
        return self.reborn | {peer for peer in self.left if peer not in busy or self.farewells[peer].broken}

    def audience(self, position: Position, readys: Iterable[Envelope[Ready]] = ()) -> list[str]:
        """Everyone whom a round concerns, this peer included."""
        rostered = (ready.message.at.peer for ready in readys)
        return sorted({*position.seats, *self.expected, *self.visitors, *rostered, self.me.peer})

    def candidates(self, position: Position) -> set[str]:
        """Who may host a ballot of a fork. Of an electorate that has died or left, each would cost one."""
        here = {*self.expected, *self.visitors, *(position.seats.keys() - self.absent)}
        return here - self.leaving | {self.me.peer}

    def patience(self, number: int, bandwidths: Iterable[float] = ()) -> float:
        failed = max(0, number - self.passed_over)
        return self.policy.patience(self.last_seconds, self.policy.transfer_seconds(bandwidths), failed)

    def pause(self, least: float) -> float:
        """Seconds until what is on its way is asked for: a quarter of the last round, as on slow lines all is slow."""
        return max(least, 0.25 * (self.last_seconds or 0.0))

    def observe(self, seconds: float, patience: float) -> None:
        """So long did it take to certify a round, and so long was each of its phases allowed to take.

        What is beyond that was spent on waiting for what never came, and says nothing about the swarm's speed. So
        after a round that ended at its deadlines the next is three times as patient at most.
        """
        self.last_seconds = min(seconds, patience)

    def hold(self, digest: bytes, round: int) -> None:
        """Keep a mean for a round. What an older certified round named already (equal bytes) stays that one's."""
        if digest not in self.held:
            self.fresh.add(digest)
        if digest in self.fresh:
            self.held[digest] = max(round, self.held.get(digest, 0))

    def keep_parts(self, digests: Iterable[bytes]) -> None:
        self.parts.update(digests)

    def drop_parts(self, digests: Iterable[bytes]) -> None:
        """One user less for each; what nobody here needs any more is released (it may never have been kept)."""
        gone = []
        for digest in digests:
            self.parts[digest] -= 1
            if self.parts[digest] <= 0:
                del self.parts[digest]
                gone.append(digest)
        if gone:
            self.emit(Release("part", tuple(gone)))

    def refuse_part(self, digest: bytes) -> None:
        """A payload came that nobody wants; its bytes may still be in use as another part."""
        if digest not in self.parts:
            self.emit(Release("part", (digest,)))

    def refuse_mean(self, digest: bytes) -> None:
        """A mean that nobody wants; equal bytes may be in use as another one."""
        if digest not in self.held:
            self.emit(Release("mean", (digest,)))

    def refuse(self, held: Held | None, envelope: Envelope) -> None:
        """Let go of a payload that nobody here wants."""
        if held is None:
            return
        if isinstance(envelope.message, Part):
            self.refuse_part(held.digest)
        else:
            self.refuse_mean(held.digest)

    def visit(self, peer: str) -> None:
        self.visitors[peer] = None
        self.visitors.move_to_end(peer)
        if len(self.visitors) > self.policy.visitors:
            self.visitors.popitem(last=False)

    def release_means(self, outcome: Outcome) -> None:
        """A round is over here: keep its chosen means for a while, let go of the others and of the oldest.

        Equal bytes are kept for the newest round that named them, also where an older one is replayed.
        """
        named = {span.digest for span in outcome.spans if span.digest in self.held}
        self.held.update((digest, max(outcome.round, self.held[digest])) for digest in named)
        self.fresh.difference_update(named)
        oldest = outcome.round - self.policy.history_rounds
        gone = [d for d, kept in self.held.items() if kept <= (outcome.round if d in self.fresh else oldest)]
        self.fresh.difference_update(gone)
        for digest in gone:
            del self.held[digest]
        if gone:
            self.emit(Release("mean", tuple(gone)))
