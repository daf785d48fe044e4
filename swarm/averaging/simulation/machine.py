"""One simulated peer: the real core, and an adapter to the simulated world, with a disk that survives crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.averaging.round.certificate import Position
from swarm.averaging.round.context import Self
from swarm.averaging.round.events import (
    Apply,
    Compute,
    Computed,
    Contribute,
    Count,
    Diverged,
    Due,
    Effect,
    Encode,
    Event,
    Forked,
    Held,
    Leave,
    Lost,
    Proof,
    Received,
    Release,
    Restore,
    Send,
    Settle,
    Store,
    Tick,
    Wake,
)
from swarm.averaging.round.log import Log
from swarm.averaging.round.peer import Peer
from swarm.averaging.simulation.arithmetic import Given, Mean, Residuals, digest_of, rounded
from swarm.averaging.simulation.recovery import Disk, replay, restore

if TYPE_CHECKING:
    from swarm.averaging.simulation.world import World


Bytes = tuple[tuple[Store, bytes, int], ...]


class Machine:
    def __init__(self, world: World, name: str, *, offset: float, rate: float) -> None:
        self.world, self.name = world, name
        self.offset, self.rate = offset, rate
        self.up = self.frozen = self.left = False
        self.queue: list[tuple[Event, Bytes]] = []
        self.incarnation = 0
        self.alarm = 0
        self.slowness = 0.0
        self.disk_seconds = 0.0  # until bytes that came count
        self.disk = Disk()
        spans = world.policy.spans
        self.head, self.state = world.genesis.head, (0,) * spans
        self.residuals = Residuals([0] * spans, [0] * spans)
        self.disk.saved[self.head] = (self.state, self.residuals.copy())
        self.core: Peer
        self.stores: dict[Store, dict[bytes, int]] = {}
        self.given: dict[bytes, Given] = {}
        self.means: dict[tuple[bytes, object, int], Mean] = {}

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, or begin again with what the disk holds: a new incarnation that remembers no promise."""
        world = self.world
        self.up, self.frozen, self.queue = True, False, []
        self.incarnation = world.incarnation(self)
        self.stores, self.given, self.means = {"part": {}, "mean": {}}, {}, {}
        heads = [world.genesis.head, *(commit.outcome.head for commit in self.disk.log)]
        self.head = next(head for head in reversed(self.disk.saved) if head in heads)
        place = heads.index(self.head)
        log = Log(world.genesis, world.policy)
        for commit in self.disk.log[:place]:
            log.offer(commit, lambda envelope: True)
        log.restored(self.head)
        self.state, saved = self.disk.saved[self.head]
        world.checks.ledger.restarted(self, saved)
        self.residuals = saved.copy()
        me = Self(self.name, self.incarnation, world.bandwidth[self.name], self.name not in world.clients)
        self.core = Peer(me, world.policy, world.crypto(self), log, world.read)
        world.say(self.name, f"starts as incarnation {self.incarnation % 9973} at round {log.state.round}")
        self.due_in(0.1)
        replay(self, self.disk.log[place:])

    def crash(self) -> None:
        self.world.say(self.name, "crashes")
        self.world.checks.ledger.crashed(self)
        self.up, self.queue, self.alarm = False, [], self.alarm + 1

    def due_in(self, seconds: float) -> None:
        """The progress records call for a round, again and again until there is one."""
        incarnation, world = self.incarnation, self.world

        def due() -> None:
            if self.up and self.incarnation == incarnation and not self.left:
                world.checks.liveness.due(self)
                self.take(Due(world.announced(self)))
                self.due_in(2.0)

        self.dues = world.at(world.now + seconds, due)

    def stop(self) -> None:
        """Gone, as announced."""
        self.crash()

    def leave(self) -> None:
        self.left = True
        self.take(Leave())

    # --- events ------------------------------------------------------------------------------------------------------

    def local(self) -> float:
        return self.offset + self.rate * self.world.now

    def take(self, event: Event, told: Bytes = ()) -> None:
        """Step the core; `told`: the bytes that the event tells of, which are stored no earlier."""
        if not self.up:
            return
        if self.frozen:
            self.queue.append((event, told))
            return
        for store, digest, value in told:
            self.stores[store][digest] = value
        effects = self.core.step(self.local(), event)
        if any(isinstance(effect, Apply) and self.certified_alone(effect) for effect in effects):
            self.write()
        for effect in effects:
            if self.up:
                self.do(effect)

    def certified_alone(self, effect: Apply) -> bool:
        """Nobody else is bound to hold its means: they are on disk before word of the certificate leaves (driver)."""
        commit = self.core.log.chain[self.core.log.index[effect.head]].commit
        return commit is not None and {vote.message.at.peer for vote in commit.votes} == {self.name}

    def thaw(self) -> None:
        self.frozen, queue = False, self.queue
        self.queue = []
        for event, told in [*queue, (Tick(), ())]:
            self.take(event, told)

    def receive(self, sender: str, data: bytes, payload: tuple[Store, bytes, int] | None) -> None:
        if payload is None:
            self.take(Received(sender, data))
        else:
            _, digest, value = payload
            event = Received(sender, data, Held(digest, 1.0 + abs(value) / 100))
            self.later(self.disk_seconds, event, (payload,)) if self.disk_seconds else self.take(event, (payload,))

    def later(self, seconds: float, event: Event, told: Bytes = ()) -> None:
        incarnation = self.incarnation

        def arrive() -> None:
            if self.incarnation == incarnation:
                self.take(event, told)

        self.world.at(self.world.now + seconds + self.slowness, arrive)

    # --- effects -----------------------------------------------------------------------------------------------------

    def do(self, effect: Effect) -> None:
        world, checks = self.world, self.world.checks
        match effect:
            case Send(to, data, payload):
                world.send(self, to, data, payload)
            case Wake(at):
                self.wake(at)
            case Release(store, digests):
                for digest in digests:
                    self.stores[store].pop(digest, None)
                    if store == "mean":
                        self.disk.means.pop(digest, None)
                checks.released(self, store, digests)
            case Encode(base):
                incarnation = self.incarnation
                world.at(world.now + world.cost() + self.slowness, lambda: self.encode(base, incarnation))
            case Compute():
                self.compute(effect)
            case Settle():
                self.settle(effect)
            case Apply():
                self.apply(effect)
            case Restore():
                restore(self, effect)
            case Forked(lineage, round):
                checks.forked(self, lineage, round)
            case Proof(peer):
                checks.proved(self, peer)
            case Diverged(indices):
                checks.fail(f"{self.name} was told that its state differs in {indices}")
            case _:
                if effect == Count("ballot_passed_over"):
                    checks.liveness.concluded.add(self.position.head)
                world.say(self.name, str(effect))

    def wake(self, at: float) -> None:
        self.alarm += 1
        alarm = self.alarm

        def ring() -> None:
            if self.alarm == alarm:
                self.take(Tick())

        self.world.at(max(self.world.now, (at - self.offset) / self.rate + 1e-9), ring)

    def encode(self, base: bytes, incarnation: int) -> None:
        """Contribute something random, plus what is owed."""
        if not self.up or self.incarnation != incarnation:
            return
        rng, spans = self.world.rng, self.world.policy.spans
        samples = rng.randrange(1, 33) if rng.random() > 0.05 else 0
        given = Given(self.name, self.incarnation, base, float(samples), [], [], [], [])
        if samples:
            given.owed = list(self.residuals.sender)
            given.meant = [rng.randrange(-40, 41) for _ in range(spans)]
            given.sent = [rounded(x + e) for x, e in zip(given.meant, given.owed, strict=True)]
            given.status = ["open"] * spans
        self.world.checks.ledger.encoded(self, given)
        self.given[base] = given
        norms = tuple(1.0 + abs(value) / 100 for value in given.sent)
        state = b"".join(digest_of(value)[:8] for value in self.state)
        parts: Bytes = tuple(("part", digest_of(value), value) for value in given.sent)
        self.take(Contribute(base, given.digests(), norms, given.weight, samples, state), parts)

    def compute(self, effect: Compute) -> None:
        """The weighted mean in integers, plus this reducer's residual, rounded once."""
        values = [(self.stores["part"].get(digest), int(1024 * weight)) for digest, weight in effect.parts]
        total = sum(weight for _, weight in values)
        if any(value is None for value, _ in values):
            self.world.checks.fail(f"{self.name} averages bytes that it does not hold")
            return
        mean = sum(value * weight for value, weight in values if value is not None) // max(total, 1)
        owed = self.residuals.reducer[effect.span]
        made = Mean(owed, mean, rounded(mean + owed))
        self.means[effect.base, effect.ballot, effect.span] = made
        digest = digest_of(made.sent)
        self.world.checks.computed(self, effect, digest)
        computed = Computed(effect.base, effect.ballot, effect.span, digest)
        self.later(self.world.cost(), computed, (("mean", digest, made.sent),))

    def settle(self, effect: Settle) -> None:
        book, span = self.residuals, effect.span
        if effect.role == "reducer":
            made = self.means.pop((effect.base, effect.ballot, span), None)
            self.world.checks.ledger.settled_reducer(self, effect, made)
            if effect.verdict == "adopt" and made is not None:
                book.reducer[span] += made.mean - made.sent
            elif effect.verdict in ("reset", "drop"):
                book.reducer[span] = 0
            return
        given = self.given.get(effect.base)
        self.world.checks.ledger.settled_sender(self, effect, given)
        if effect.verdict == "adopt" and given is not None:
            book.sender[span] += given.meant[span] - given.sent[span]
        elif effect.verdict == "reset":
            book.sender[span] = 0
        if effect.verdict in ("adopt", "reset"):
            book.covered |= {(effect.base, span)}

    def apply(self, effect: Apply) -> None:
        outcome, means = effect.outcome, self.stores["mean"]
        values = []
        for old, span in zip(self.state, outcome.spans, strict=True):
            if not span.void and span.digest not in means:
                self.world.checks.fail(f"{self.name} is told to apply bytes that it does not hold")
                return
            values.append(old if span.void else old * 3 + means[span.digest])
        self.world.checks.applied(self, effect, tuple(values))
        self.head, self.state = effect.head, tuple(values)
        self.world.say(self.name, f"applies round {outcome.round} {effect.head.hex()[:6]} {self.state}")
        self.save()
        self.world.cancel(self.dues)
        self.due_in((self.world.think + self.world.rng.uniform(0, 0.05)) / self.rate)

    def save(self) -> None:
        """The round, and every so often a checkpoint: state and residuals, together."""
        self.write()
        log = self.core.log
        if log.state.round % self.world.save_every == 0 and not self.disk_seconds:
            self.disk.saved.pop(self.head, None)
            self.disk.saved[self.head] = (self.state, self.residuals.copy())

    def write(self) -> None:
        """The log and its means."""
        log = self.core.log
        self.disk.log = [entry.commit for entry in log.chain[: log.applied + 1] if entry.commit is not None]
        self.disk.means = dict(self.stores["mean"])

    def lose(self, peer: str) -> None:
        self.take(Lost(peer))

    @property
    def position(self) -> Position:
        return self.core.log.tip
