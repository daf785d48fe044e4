"""Faults of the peers: slow, skewed, late, leaving, standing still, and dying in each of their roles."""

from __future__ import annotations

from swarm.averaging.round.messages import (
    Call,
    Commit,
    Envelope,
    Mean,
    Message,
    Part,
    Propose,
    Ready,
    Reduced,
    Roster,
    Vote,
)
from swarm.averaging.simulation.faults.registry import fault, when_sent, window
from swarm.averaging.simulation.machine import Machine
from swarm.averaging.simulation.world import Carried, World


@fault
def slow(world: World) -> None:
    """A peer computes and sends slowly for a while."""
    machine = world.machines[world.rng.choice(world.names)]
    (start, end), lag = window(world, 1.0, 8.0), world.rng.uniform(0.1, 2.0)
    world.touch(start, end + lag, lambda a, b: machine.name in (a, b))

    def begin() -> None:
        world.faults["slow"] += 1
        machine.slowness = lag

    world.at(start, begin)
    world.at(end, lambda: setattr(machine, "slowness", 0.0))


@fault
def skew(world: World) -> None:
    """Clocks start anywhere and run at different rates."""
    world.faults["skew"] += 1
    for machine in world.machines.values():
        machine.offset, machine.rate = world.rng.uniform(-1e6, 1e6), world.rng.uniform(0.8, 1.25)


@fault
def joiner(world: World) -> None:
    """A peer comes late."""
    name = world.rng.choice(world.names)
    late = world.rng.uniform(1.0, world.span + 2)
    world.late[name] = max(late, world.late.get(name, 0.0))
    world.touch(0.0, late + 3.0, lambda a, b: name in (a, b))
    world.faults["joiner"] += 1


@fault
def leaver(world: World) -> None:
    """A peer says goodbye, and is gone a moment later: for good, so not the only one that is bound to hold bytes."""
    name, when = world.rng.choice(world.names), world.rng.uniform(0.5, world.span)

    def leave() -> None:
        machine = world.machines[name]
        if not machine.up or machine.left or len(machine.position.electorate) == 1:
            return
        if sum(not m.left for m in world.machines.values()) > 2:
            world.faults["leaver"] += 1
            world.touch(world.now, world.now + 5.0, lambda a, b: name in (a, b))
            machine.leave()
            world.at(world.now + world.rng.uniform(0.0, 3.0), machine.stop)

    world.at(when, leave)


def crash_at(world: World, kind: str, kinds: tuple[type[Message], ...]) -> None:
    """A peer dies in the middle of sending such messages."""
    back = world.rng.choice((0.05, 1.0, 3.0, 15.0))
    sent = world.rng.random() < 0.5

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        if sent:
            world.at(world.now, lambda: world.crash(kind, machine.name, back))
        else:
            world.crash(kind, machine.name, back)
        return not sent

    when_sent(world, (world.rng.choice(kinds),), act, after=world.rng.randrange(len(world.names) + 1))


@fault
def crash_host(world: World) -> None:
    crash_at(world, "crash_host", (Call, Roster, Propose, Commit))


@fault
def crash_reducer(world: World) -> None:
    crash_at(world, "crash_reducer", (Mean, Reduced))


@fault
def crash_member(world: World) -> None:
    crash_at(world, "crash_member", (Ready, Part, Vote))


@fault
def crash_many(world: World) -> None:
    """Up to all peers die at once and come back one after another."""
    names = world.rng.sample(world.names, world.rng.randrange(2, len(world.names) + 1))

    def strike() -> None:
        for name in names:
            world.crash("crash_many", name, world.rng.uniform(0.5, 15.0))

    world.at(world.rng.uniform(0.0, world.span), strike)


@fault
def forgotten_vote(world: World) -> None:
    """A peer votes, dies at once, and is back before the round is over."""
    back = world.rng.uniform(0.01, 0.5)
    lost = world.rng.random() < 0.5

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        world.at(world.now, lambda: world.crash("forgotten_vote", machine.name, back))
        return lost

    when_sent(world, (Vote,), act, after=world.rng.randrange(len(world.names)))


@fault
def lonely_commit(world: World) -> None:
    """The host dies after it told one member, or none, that the round is certified."""
    told = world.rng.randrange(2)

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        world.crash("lonely_commit", machine.name, world.rng.uniform(1.0, 12.0))
        return True

    when_sent(world, (Commit,), act, after=told)


@fault
def late_host(world: World) -> None:
    """A host stands still in its ballot, and goes on when its successor has proposed."""

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        base, ballot = envelope.message.at.base, envelope.message.at.ballot
        world.freeze("late_host", machine.name, 40.0)

        def successor(other: Machine, to: str, envelope: Envelope) -> bool:
            message = envelope.message
            if isinstance(message, Propose) and message.at.base == base and message.at.ballot > ballot:
                world.traps.remove(successor)
                world.at(world.now + world.rng.uniform(0, 0.1), machine.thaw)
            return False

        world.traps.append(successor)
        return False

    when_sent(world, (world.rng.choice((Call, Roster, Propose)),), act, after=world.rng.randrange(len(world.names)))


@fault
def late_reducer(world: World) -> None:
    """A reducer stands still with its spans, and goes on when others have been given them."""

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        roster = envelope.message
        assert isinstance(roster, Roster)
        reducers = [roster.readys[index].message.at.peer for index in roster.reducers]
        late = world.rng.choice([name for name in reducers if name != machine.name] or reducers)
        when = world.now + world.latency * world.rng.uniform(1.0, 2.5)
        world.at(when, lambda: world.freeze("late_reducer", late, 8.0))

        def reassigned(other: Machine, to: str, envelope: Envelope) -> bool:
            message = envelope.message
            if isinstance(message, Roster) and message.at.base == roster.at.base and message.attempt > 0:
                world.traps.remove(reassigned)
                world.at(world.now + world.rng.uniform(0, 0.3), world.machines[late].thaw)
            return False

        world.traps.append(reassigned)
        return False

    when_sent(world, (Roster,), act)


@fault
def freeze(world: World) -> None:
    """A process stands still for a while."""
    name = world.rng.choice(world.names)
    world.at(window(world)[0], lambda: world.freeze("freeze", name, world.rng.uniform(0.5, 12.0)))


@fault
def echo(world: World) -> None:
    """A peer dies and comes back, and then all that it was sent and had sent before arrives once more."""
    name, strike = world.rng.choice(world.names), world.rng.uniform(0.5, world.span)
    back = world.rng.choice((0.05, 1.0, 3.0))
    kept: list[tuple[str, str, bytes, Carried | None]] = []

    def record(machine: Machine, to: str, envelope: Envelope) -> bool:
        if name in (machine.name, to) and world.now <= strike:
            kept.append((machine.name, to, envelope.wire, world.payload(machine, envelope.message)))
        return False

    def again() -> None:
        for source, to, wire, payload in kept[-300:]:
            world.faults["echo"] += 1
            world.transmit(source, to, wire, payload)

    world.traps.append(record)
    world.at(strike, lambda: world.crash("echo", name, back))
    world.at(strike + back + world.rng.uniform(0.0, 0.5), again)
