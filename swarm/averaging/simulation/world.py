"""The world around the simulated peers: true time, links that can be bent, and what is to happen when.

Everything random comes from one seeded generator and everything happens in one queue, so that a seed replays exactly.
Faults (`faults.py`) use four handles: `bend` links for a while, `crash` and `freeze` peers, `trap` messages, and `at`.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from swarm.averaging.round.certificate import genesis
from swarm.averaging.round.context import Crypto
from swarm.averaging.round.events import Lost, Payload, Store
from swarm.averaging.round.messages import DOMAIN, Envelope, Fetch, Mean, Message, MessageError, Part, pack, seal
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.reading import parse
from swarm.averaging.simulation.checks import Checks
from swarm.averaging.simulation.machine import Machine
from swarm.averaging.simulation.trace import describe

Carried = tuple[Store, bytes, int]
Where = Callable[[str, str], bool]  # (from, to): is it this link?
Bend = Callable[[float], list[float]]  # a message's delay -> the delays of its copies; none: it is lost
Trap = Callable[["Machine", str, Envelope], bool]  # sees a message being sent; True: it is not


@lru_cache(4096)
def read(data: bytes) -> Envelope | MessageError:
    try:
        return parse(data)
    except MessageError as error:
        return error


@lru_cache(8192)
def tag(peer: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=peer.encode(), digest_size=16).digest()


@dataclass
class Rule:
    """How some links behave for a while."""

    kind: str
    start: float
    end: float
    where: Where
    bend: Bend
    cuts: bool  # nothing passes: the peers' progress records do not either


@dataclass
class World:
    seed: int
    policy: Policy
    names: list[str]
    verbose: bool = False
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = 0.0
        self.queue: list[list] = []
        self.count = 0
        self.rules: list[Rule] = []
        self.traps: list[Trap] = []
        self.touches: list[tuple[float, float, Where]] = []
        self.faults: Counter[str] = Counter()
        self.genesis = genesis(hashlib.sha256(b"run").digest())
        self.think, self.latency, self.work = 0.5, 0.02, 0.02
        self.save_every = 1
        self.arrival: dict[tuple[str, str], float] = {}
        self.under_way: dict[tuple[str, str, Payload], float] = {}  # bytes that a lane sends, until when
        self.seen: dict[str, float] = {}
        self.clients: set[str] = set()
        self.liars: set[str] = set()
        self.hoarders: set[str] = set()  # who keeps bytes back that it reported
        self.late: dict[str, float] = {}  # who starts when, if not at once
        self.span = 5.0  # faults begin in this time
        self.bandwidth = dict.fromkeys(self.names, 1e7)
        self.checks = Checks(self)
        self.machines = {name: Machine(self, name, offset=0.0, rate=1.0) for name in self.names}

    # --- time --------------------------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> list:
        self.count += 1
        entry = [max(when, self.now), self.count, action]
        heapq.heappush(self.queue, entry)
        return entry

    def cancel(self, entry: list) -> None:
        entry[2] = None

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Let things happen until `until` holds (True) or the time has come (False)."""
        while self.queue and not self.checks.violations:
            if until():
                return True
            when, _, action = heapq.heappop(self.queue)
            if when > limit:
                self.at(when, action)
                return False
            self.now = when
            if action is not None:
                action()
        return until()

    def cost(self) -> float:
        """Seconds that a piece of arithmetic takes."""
        return self.work * self.rng.uniform(0.5, 1.5)

    def say(self, who: str, what: str) -> None:
        if self.verbose:
            print(f"{self.now:9.3f}  {who:4s} {what}")

    # --- what machines ask -------------------------------------------------------------------------------------------

    def incarnation(self, machine: Machine) -> int:
        """A new one at every start."""
        return self.rng.getrandbits(48)

    def crypto(self, machine: Machine) -> Crypto:
        name = machine.name

        def sign(data: bytes) -> bytes:
            signature = tag(name, data)
            envelope = read(pack((data[len(DOMAIN) :], signature)))
            assert isinstance(envelope, Envelope)
            self.checks.signed(machine, envelope)
            return signature

        return Crypto(sign, lambda peer, data, signature: signature == tag(peer, data))

    @staticmethod
    def read(data: bytes) -> Envelope:
        found = read(data)
        if isinstance(found, MessageError):
            raise found
        return found

    def announced(self, machine: Machine) -> tuple[str, ...]:
        """Whose progress records this machine can see: they expire 3 seconds after a peer is gone."""
        for other in self.machines.values():
            if other.up and not other.left:
                self.seen[other.name] = self.now
        near = [name for name, at in self.seen.items() if self.now - at < 3 and not self.machines[name].left]
        return tuple(sorted(name for name in near if name != machine.name and not self.cut(name, machine.name)))

    def cut(self, source: str, to: str) -> bool:
        return any(rule.cuts and rule.start <= self.now < rule.end and rule.where(source, to) for rule in self.rules)

    def donors(self, machine: Machine) -> list[Machine]:
        reachable = [m for m in self.machines.values() if m.up and not m.frozen and m is not machine]
        return [m for m in reachable if not self.cut(m.name, machine.name) and not self.cut(machine.name, m.name)]

    def send(self, machine: Machine, to: str, data: bytes, payload: Payload | None) -> None:
        source = machine.name
        carried: Carried | None = None
        if payload is not None:
            store, digest, _ = payload
            if digest not in machine.stores[store]:
                self.checks.fail(f"{source} sends bytes that it does not hold")
                return
            carried = (store, digest, machine.stores[store][digest])
        envelope = self.read(data)
        for trap in list(self.traps):
            if trap(machine, to, envelope):
                return
            if not machine.up:
                return
        if payload is not None and not self.takes(source, to, payload):
            return
        if isinstance(envelope.message, Fetch):
            self.checks.asked(machine, envelope.message)
        if self.verbose:
            self.say(source, f"-> {to}  {describe(envelope)}")
        self.transmit(source, to, data, carried)

    def takes(self, source: str, to: str, payload: Payload) -> bool:
        """Does the lane send these bytes? Like a real one, not while it is sending them already."""
        way = (source, to, payload)
        if self.under_way.get(way, -1.0) > self.now:
            return False
        if len(self.under_way) > 4096:
            self.under_way = {way: until for way, until in self.under_way.items() if until > self.now}
        self.under_way[way] = self.now + self.latency
        return True

    def transmit(self, source: str, to: str, data: bytes, payload: Carried | None) -> None:
        delays, plain = [self.latency], True
        for rule in self.rules:
            if rule.start <= self.now < rule.end and rule.where(source, to):
                bent = [copy for delay in delays for copy in rule.bend(delay)]
                if bent != delays:
                    self.faults[rule.kind] += 1
                    plain = False
                delays = bent
        for delay in delays:
            arrival = self.now + delay + self.machines[source].slowness
            if plain:
                arrival = self.arrival[source, to] = max(arrival, self.arrival.get((source, to), 0.0))
            self.at(arrival, lambda: self.machines[to].receive(source, data, payload) if to in self.machines else None)

    # --- how it stands -----------------------------------------------------------------------------------------------

    def members(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if not machine.left]

    def longest(self) -> int:
        return max((m.core.log.state.round for m in self.members() if m.up), default=0)

    def quiet(self) -> bool:
        """Is every fault over that was to end by itself?"""
        return all(rule.end <= self.now for rule in self.rules) and all(m.up and not m.frozen for m in self.members())

    def united(self) -> bool:
        """All are at one head, and were together in the round that led there."""
        members = self.members()
        heads = {machine.head for machine in members} | {machine.core.log.tip.head for machine in members}
        if len(heads) != 1 or not all(machine.up for machine in members):
            return False
        seats = {(seat.peer, seat.incarnation) for seat in members[0].core.log.tip.electorate}
        return {(machine.name, machine.incarnation) for machine in members} <= seats

    def enough(self, votes: int, voters: int) -> bool:
        """The observer's own rule for a quorum."""
        return 2 * votes > voters if self.policy.quorum_rule == "majority" else 3 * votes > 2 * voters

    def where(self) -> str:
        return ", ".join(
            f"{m.name} {m.core.log.state.round}/{m.core.log.tip.round} {m.core.log.tip.head.hex()[:6]}"
            for m in self.members()
        )

    def calm(self) -> None:
        """No more faults: links are whole, and everybody is there."""
        self.say("   ", "calm")
        self.rules.clear()
        self.traps.clear()
        for machine in self.members():
            machine.slowness = 0.0
            if machine.frozen:
                machine.thaw()
            self.boot(machine.name)

    @staticmethod
    def payload(machine: Machine, message: Message) -> Carried | None:
        """The bytes that go with this message of this machine, if there are any."""
        if not isinstance(message, Part | Mean):
            return None
        store: Store = "part" if isinstance(message, Part) else "mean"
        value = machine.stores[store].get(message.digest)
        return None if value is None else (store, message.digest, value)

    def forge(self, name: str, message: Message) -> bytes:
        """A message that the named peer signs without its core knowing."""
        return seal(message, lambda data: tag(name, data)).wire

    # --- handles for faults ------------------------------------------------------------------------------------------

    def touch(self, start: float, end: float, where: Where) -> None:
        """Remember that a fault may disturb these links (a peer: its link to itself too) in this time."""
        self.touches.append((start, end, where))

    def touched(self, source: str, to: str, start: float, end: float) -> bool:
        """May a fault have disturbed this link, or one of the two peers, in this time?"""
        return any(self.disturbs(where, source, to) for where in self.disturbances(start, end))

    def disturbances(self, start: float, end: float) -> list[Where]:
        return [where for begun, over, where in self.touches if begun <= end and start <= over]

    @staticmethod
    def disturbs(where: Where, source: str, to: str) -> bool:
        return where(source, to) or where(to, source) or where(source, source) or where(to, to)

    def bend(self, kind: str, start: float, end: float, where: Where, bend: Bend) -> None:
        cuts = bend(0.0) == [] and bend(1.0) == []
        self.rules.append(Rule(kind, start, end, where, bend, cuts))
        self.touch(start, end, where)

    def crash(self, kind: str, name: str, back_after: float) -> None:
        """The process dies now and, after a while, is started again."""
        machine = self.machines[name]
        if not machine.up or machine.left:
            return
        self.faults[kind] += 1
        self.say(name, kind)
        machine.crash()
        self.touch(self.now, self.now + back_after + 5.0, lambda a, b: name in (a, b))
        for other in self.machines.values():
            if other.up and other is not machine and self.rng.random() < 0.5:
                other.later(self.latency, Lost(name))
        self.at(self.now + back_after, lambda: self.boot(name))

    def boot(self, name: str) -> None:
        if not self.machines[name].up and not self.machines[name].left:
            self.machines[name].start()

    def freeze(self, kind: str, name: str, seconds: float) -> None:
        """The process stands still for a while, then goes on as if nothing had been."""
        machine = self.machines[name]
        if machine.up and not machine.frozen:
            self.faults[kind] += 1
            self.say(name, f"freezes for {seconds:.1f} s")
            machine.frozen = True
            self.touch(self.now, self.now + seconds + 3.0, lambda a, b: name in (a, b))
            incarnation = machine.incarnation
            self.at(self.now + seconds, lambda: machine.thaw() if machine.incarnation == incarnation else None)
