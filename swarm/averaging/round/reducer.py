"""The reducer: collects the parts of its spans, averages them in roster order, encodes once, sends all the same.

Per span: collecting --all or deadline--> computing --Computed--> done; the outcome settles its residual. The parts of a
span are let go of once it is computed: in a further ballot members send the same bytes again.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from swarm.averaging.round import merkle
from swarm.averaging.round.certificate import Position
from swarm.averaging.round.context import Context
from swarm.averaging.round.events import Compute, Computed, Held, Payload, Settle
from swarm.averaging.round.messages import (
    Ballot,
    Fetch,
    Header,
    Mean,
    Outcome,
    Part,
    Reduced,
    Roster,
)
from swarm.averaging.round.policy import Gathering, effective_weights


@dataclass
class Task:
    """One span this peer reduces in one ballot."""

    gathering: Gathering
    senders: bytes = b""  # set once it is computing
    digest: bytes | None = None
    asked: bool = False


class Reducer:
    def __init__(self, context: Context, position: Position, owed: dict[int, int]) -> None:
        self.context, self.position = context, position
        self.owed = owed  # span -> round in which this peer's residual of it was last paid
        self.parts: dict[tuple[int, str], tuple[Part, float]] = {}  # (span, sender) -> (part, norm)
        self.latest: dict[str, tuple[int, float]] = {}  # sender -> span of the part that came last, and when
        self.roster: Roster | None = None
        self.tasks: dict[int, Task] = {}
        self.computed: list[tuple[Ballot, int, bytes]] = []

    def on_roster(self, now: float, roster: Roster) -> None:
        """Start collecting the spans that are mine in this ballot; what came early counts.

        How long to wait is the host's word, since its own patience ends the ballot. Never less than the least deadline,
        so that a host cannot make others report that nothing came.
        """
        policy = self.context.policy
        limit = max(policy.floor_seconds, roster.patience)
        if self.roster is not None and self.roster.at.ballot != roster.at.ballot:
            self.tasks.clear()
        self.roster = roster
        mine = [r.message.at.peer == self.context.me.peer for r in roster.readys]
        senders = {r.message.at.peer: r.message.weight for r in roster.readys if r.message.weight > 0}
        for span, reducer in enumerate(roster.reducers):
            if not mine[reducer]:
                if span in self.tasks and self.tasks[span].digest is None:
                    del self.tasks[span]  # reassigned
            elif span not in self.tasks:
                gathering = Gathering(policy, now, senders, limit, policy.cut_factor)
                self.tasks[span] = Task(gathering)
                for sender in senders:
                    if (span, sender) in self.parts:
                        self.consider(now, span, sender)
        self.tick(now)

    def on_part(self, now: float, sender: str, part: Part, held: Held | None) -> None:
        """Take a part whose payload the adapter holds; whether it is the one promised shows with the roster."""
        key = (part.span, sender)
        if held is None or held.digest != part.digest or part.span >= self.context.policy.spans:
            self.context.count("bad_part")
            if held is not None:
                self.context.refuse_part(held.digest)
            return
        old = self.parts.get(key)
        if self.done(part) or (old is not None and (old[0].digest == part.digest or self.accepted(*key))):
            self.context.refuse_part(part.digest)
            if old is not None and old[0].digest == part.digest and part.at.ballot > old[0].at.ballot:
                self.parts[key] = (part, held.norm)  # the same bytes: they are for the next ballot too
            return
        if old is None and len(self.parts) >= self.context.policy.early_parts:
            self.context.count("surplus_part")
            self.context.refuse_part(part.digest)
            return
        if old is not None:
            self.context.drop_parts([old[0].digest])
        self.context.keep_parts([part.digest])
        self.parts[key] = (part, held.norm)
        self.latest[sender] = (part.span, now)
        self.consider(now, *key)
        self.tick(now)

    def done(self, part: Part) -> bool:
        """Is its span computed in this ballot? Parts of the next one may come before its roster."""
        computed = part.span in self.tasks and self.tasks[part.span].digest is not None
        return computed and self.roster is not None and part.at.ballot <= self.roster.at.ballot

    def accepted(self, span: int, sender: str) -> bool:
        return span in self.tasks and sender not in self.tasks[span].gathering.missing

    def consider(self, now: float, span: int, sender: str) -> None:
        """Check a held part against its sender's signed root; a part that does not belong is let go and counted."""
        if self.roster is None or span not in self.tasks:
            return
        part, _ = self.parts[span, sender]
        for ready in self.roster.readys:
            if ready.message.at.peer == sender and ready.message.weight > 0:
                root, spans = ready.message.root, self.context.policy.spans
                if merkle.belongs(root, spans, span, part.digest, part.path):
                    self.tasks[span].gathering.arrive(now, sender)
                    return
        del self.parts[span, sender]
        self.context.count("foreign_part")
        self.context.drop_parts([part.digest])

    def lose(self, now: float, peer: str) -> None:
        for span, task in self.tasks.items():
            if (span, peer) not in self.parts:
                task.gathering.lose(peer)
        self.tick(now)

    def tick(self, now: float) -> None:
        for span, task in sorted([(span, task) for span, task in self.tasks.items() if not task.senders]):
            if task.gathering.over(now):
                self.reduce(span, task)
            elif now >= self.asks_at(span, task):
                self.ask(span, task)

    def asks_at(self, span: int, task: Task) -> float:
        """Halfway to giving up on a sender, its part is asked for once: what is on its way must not be sent twice.

        Parts come in the order of their spans. If a later one is here, this one was lost; else its sender may just be
        slow, and only half of the longest wait tells.
        """
        if task.asked:
            return math.inf
        gathering = task.gathering
        last = gathering.start + gathering.limit
        sooner = gathering.closes < last and self.skipped(span, task)
        return (gathering.start + (gathering.closes if sooner else last)) / 2

    def skipped(self, span: int, task: Task) -> list[str]:
        """Senders of whom a later part has come since, and not this one."""
        latest = {sender: self.latest.get(sender, (-1, 0.0)) for sender in task.gathering.missing}
        return sorted(who for who, (last, when) in latest.items() if last > span and when >= task.gathering.start)

    def wakes(self) -> list[float]:
        tasks = [(span, task) for span, task in self.tasks.items() if not task.senders]
        return [at for span, task in tasks for at in (task.gathering.closes, self.asks_at(span, task))]

    def ask(self, span: int, task: Task) -> None:
        assert self.roster is not None
        task.asked = True
        header = self.context.header(self.position, self.roster.at.ballot)
        self.context.send(self.skipped(span, task) or sorted(task.gathering.missing), Fetch(header, spans=(span,)))

    def reduce(self, span: int, task: Task) -> None:
        """Average what came, in roster order, without what is wildly out of scale."""
        assert self.roster is not None
        readys = self.roster.readys
        norms = {i: self.parts[span, r.message.at.peer][1] for i, r in enumerate(readys) if self.counts(span, i)}
        if len(norms) > 2:
            usual = statistics.median(norms.values())
            wild = [i for i, norm in norms.items() if usual > 0 and norm > self.context.policy.norm_factor * usual]
            for index in wild:
                self.context.count("wild_part")
                del norms[index]
        senders = bytearray((len(readys) + 7) // 8)
        for index in norms:
            senders[index // 8] |= 1 << index % 8
        task.senders = bytes(senders)
        weights = effective_weights([r.message.weight for r in readys], self.context.policy.weight_cap)
        parts = tuple((self.parts[span, readys[i].message.at.peer][0].digest, weights[i]) for i in sorted(norms))
        ballot = self.roster.at.ballot
        if parts:
            self.context.emit(Compute(self.position.head, ballot, span, parts))
        else:
            header = self.context.header(self.position, ballot)
            self.context.send([ballot.host], Reduced(header, span, b"", b""))

    def counts(self, span: int, index: int) -> bool:
        """Has the part of this roster entry come, and is it the one its root promised?"""
        assert self.roster is not None
        ready = self.roster.readys[index].message
        return ready.weight > 0 and (span, ready.at.peer) in self.parts

    def on_computed(self, event: Computed) -> None:
        task = self.tasks.get(event.span)
        self.computed.append((event.ballot, event.span, event.digest))
        if self.roster is None or task is None or self.roster.at.ballot != event.ballot:
            self.context.refuse_mean(event.digest)
            return
        task.digest = event.digest
        self.context.hold(event.digest, self.position.round + 1)
        header: Header = self.context.header(self.position, event.ballot)
        members = [ready.message.at.peer for ready in self.roster.readys]
        first = members.index(self.context.me.peer)
        mean = self.context.seal(Mean(header, event.span, event.digest))
        self.context.send(members[first:] + members[:first], mean, Payload("mean", event.digest))
        self.context.send([event.ballot.host], Reduced(header, event.span, event.digest, task.senders))
        self.let_go(event.span, event.ballot)

    def let_go(self, span: int, ballot: Ballot) -> None:
        """Of its parts: the mean is what counts from here on. Those for the next ballot may be here already."""
        gone = [key for key, (part, _) in self.parts.items() if key[0] == span and part.at.ballot <= ballot]
        self.context.drop_parts([self.parts.pop(key)[0].digest for key in gone])

    def settle(self, outcome: Outcome | None) -> None:
        """Adopt the residual of what was chosen and is mine, keep the others, drop those unpaid for too long."""
        base, number = self.position.head, self.position.round + 1
        paid = set()
        for ballot, span, digest in self.computed:
            mine = outcome is not None and ballot == outcome.ballot and self.chosen(outcome, span, digest)
            if mine:
                self.owed[span] = number
                paid.add(span)
            self.context.emit(Settle("reducer", "adopt" if mine else "keep", span, base, ballot))
        if outcome is not None:
            for span in self.forgotten(outcome, paid):
                self.context.emit(Settle("reducer", "reset", span, base))
        for span in [s for s, last in self.owed.items() if number - last >= self.context.policy.residual_rounds]:
            del self.owed[span]
            self.context.emit(Settle("reducer", "drop", span, base))
        self.computed.clear()
        self.tasks.clear()
        self.latest.clear()
        self.context.drop_parts([part.digest for part, _ in self.parts.values()])
        self.parts.clear()

    def forgotten(self, outcome: Outcome, paid: set[int]) -> list[int]:
        """Spans whose chosen mean this peer made before a restart, so that their residual is lost."""
        me, spans = self.context.me.peer, enumerate(outcome.spans)
        return [s for s, span in spans if not span.void and s not in paid and outcome.roster[span.reducer] == me]

    def chosen(self, outcome: Outcome, span: int, digest: bytes) -> bool:
        """Is this the mean that was chosen? One that has restarted may still reduce for its seat of before."""
        result = outcome.spans[span]
        return result.digest == digest and outcome.roster[result.reducer] == self.context.me.peer
