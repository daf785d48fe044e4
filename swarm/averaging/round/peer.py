"""One peer: the three roles of the round, the log, and the order in which messages reach them.

`step(now, event)` returns the effects, in order. It never raises for what others send. Time comes in as an argument of
any monotonic clock; nothing here reads one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from swarm.averaging.round.catch_up import NOBODY, CatchUp
from swarm.averaging.round.certificate import host_of
from swarm.averaging.round.context import Context, Crypto, Self
from swarm.averaging.round.dispatch import Dispatch
from swarm.averaging.round.events import (
    Computed,
    Contribute,
    Due,
    Effect,
    Event,
    Heard,
    Held,
    Leave,
    Lost,
    Missed,
    Received,
    Restored,
    Settle,
    Tick,
    Wake,
)
from swarm.averaging.round.host import Host
from swarm.averaging.round.log import Log
from swarm.averaging.round.member import Member
from swarm.averaging.round.messages import (
    Bye,
    Envelope,
    MessageError,
    Part,
)
from swarm.averaging.round.pledges import Pledges
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.reading import parse
from swarm.averaging.round.reducer import Reducer

Read = Callable[[bytes], Envelope]


class Peer:
    def __init__(self, me: Self, policy: Policy, crypto: Crypto, log: Log, read: Read = parse) -> None:
        """`read` is `parse`, or one that remembers what it has parsed (several peers in one process)."""
        self.context = Context(log.tip.run, me, policy, crypto)
        self.read = read
        self.log = log
        self.catch_up = CatchUp(self.context, log)
        self.messages = Dispatch(self, self.context)
        self.pledges = Pledges(policy.pledges)
        self.owed: dict[int, int] = {}
        self.host: Host | None = None
        self.wake = math.inf
        self.begin()

    def begin(self) -> None:
        """New roles for the round after the tip."""
        position = self.log.tip
        self.context.new_round(position, self.log.index)
        self.host = None
        self.context.lagging = bool(self.log.behind) or self.catch_up.restoring
        for seat in position.electorate:
            self.context.visitors.pop(seat.peer, None)
        if position.head in self.catch_up.open:
            self.member, self.reducer = self.catch_up.open[position.head]
            self.member.pause()
            return
        self.member = Member(self.context, position, self.pledges.of(position.head, position.round))
        self.reducer = Reducer(self.context, position, self.owed)
        self.catch_up.open[position.head] = (self.member, self.reducer)

    # --- events ------------------------------------------------------------------------------------------------------

    def step(self, now: float, event: Event) -> list[Effect]:
        context = self.context
        self.handle(now, event)
        self.deliver_own(now)
        self.tick(now)
        self.deliver_own(now)
        host = self.host.wakes() if self.host is not None else []
        wakes = [self.member.deadline, self.member.fetching.at, *self.catch_up.wakes(), *self.reducer.wakes(), *host]
        at = min([wake for wake in wakes if wake > now], default=math.inf)
        if at != self.wake and at < math.inf:
            self.wake = at
            context.emit(Wake(at))
        effects, context.out = context.out, []
        return effects

    def deliver_own(self, now: float) -> None:
        """What this peer's roles send to one another does not leave it."""
        while self.context.loop:
            envelope, payload = self.context.loop.popleft()
            held = Held(payload[1], self.own_norm(envelope)) if payload is not None else None
            self.messages.dispatch(now, self.context.me.peer, envelope, held)

    def handle(self, now: float, event: Event) -> None:
        match event:
            case Received(sender, data, held):
                try:
                    envelope = data if isinstance(data, Envelope) else self.read(data)
                except MessageError as error:
                    self.context.count(f"malformed_{error.reason}")
                    return
                self.messages.receive(now, sender, envelope, held)
            case Tick():
                self.wake = math.inf
            case Due(expected, leaving, absent, boundary):
                self.context.absent, self.context.boundary = set(absent), boundary
                self.due(now, expected, leaving)
            case Contribute():
                self.contribute(now, event)
            case Computed(base):
                if base == self.log.tip.head:
                    self.reducer.on_computed(event)
                else:
                    self.context.refuse_mean(event.digest)
            case Restored(head):
                self.catch_up.restored(now, head)
                self.advance(now)
            case Lost(peer):
                if peer in self.context.farewells:
                    self.context.farewells[peer].broken = True
                self.lose(now, peer)
            case Heard(peer, base):
                self.catch_up.hear(now, peer, base)
            case Leave():
                self.context.gone = True
                bye = Bye(self.context.header(self.log.tip, NOBODY))
                self.context.send([p for p in self.context.audience(self.log.tip) if p != self.context.me.peer], bye)

    def due(self, now: float, expected: tuple[str, ...], leaving: tuple[str, ...]) -> None:
        context, position = self.context, self.log.tip
        context.expected = set(expected)
        context.leaving.update(leaving)
        self.member.open(now)
        if host_of(position, context.policy, 0, context.candidates(position)) == context.me.peer:
            self.lead(now, 0)
        if not position.votes(context.me.peer, context.me.incarnation):
            seats = position.electorate if context.me.peer in position.seats else position.order[:8]
            for seat in seats:  # where one of them was this peer's, all learn from it that nobody sits there now
                self.catch_up.ask(now, seat.peer)

    def lead(self, now: float, number: int) -> None:
        """Host this ballot, unless a later one is under way, or this peer is going or has too old a state."""
        promised = self.member.pledge.promised
        if self.context.gone or (promised is not None and promised.number >= number):
            return
        if self.host is None or self.host.ballot.number < number:
            self.host = Host(self.context, self.log.tip, number)
            self.host.start(now)

    def contribute(self, now: float, gift: Contribute) -> None:
        fits = len(gift.digests) in (0, self.context.policy.spans) and len(gift.norms) == len(gift.digests)
        assert fits, "a contribution has one digest and one norm per span"
        self.context.keep_parts(gift.digests)
        if gift.base == self.log.tip.head and self.member.gift is None:
            self.member.contribute(now, gift)
            return
        for span in range(len(gift.digests)):
            self.context.emit(Settle("sender", "keep", span, gift.base))
        self.context.drop_parts(gift.digests)
        self.context.emit(Missed("the contribution came too late for its round"))

    def own_norm(self, envelope: Envelope) -> float:
        gift, message = self.member.gift, envelope.message
        return gift.norms[message.span] if gift is not None and isinstance(message, Part) else 0.0

    def lose(self, now: float, peer: str) -> None:
        """A broken connection shortens what we wait for; nothing is decided by it."""
        self.reducer.lose(now, peer)
        if self.host is not None:
            self.host.lose(now, peer)
        waiting_for = self.member.called.host if self.member.called else None
        decided = peer in self.context.left and self.member.following(self.member.number) != self.member.number
        if self.member.opened is not None and (waiting_for == peer or decided):  # its vote may be on its way
            self.member.deadline = min(self.member.deadline, now + self.context.policy.cut_seconds)

    def tick(self, now: float) -> None:
        self.reducer.tick(now)
        if self.host is not None:
            self.host.tick(now)
        self.catch_up.tick(now)
        if self.member.tick(now):
            self.lead(now, self.member.number)
        self.advance(now)

    def advance(self, now: float) -> None:
        """Apply what can be applied. A peer that has caught up may be Ready."""
        moved = self.catch_up.advance(now)
        self.context.lagging = bool(self.log.behind) or self.catch_up.restoring
        if moved and not self.context.lagging:
            self.member.answer(now)
