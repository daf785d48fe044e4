"""Faults of honesty: wrong bytes, withheld bytes, two messages for one place, old messages, damaged ones.

Voters that sign two votes, or lie in a Ready about their last one, are not among them: a quorum of one-phase votes does
not stand them (docs/protocol.md, what liars can still do).
"""

from __future__ import annotations

import math
from dataclasses import replace

from swarm.averaging.round.messages import (
    VOID,
    Envelope,
    Mean,
    Message,
    Propose,
    Ready,
    Reduced,
    Roster,
)
from swarm.averaging.simulation.arithmetic import digest_of
from swarm.averaging.simulation.faults.registry import fault, when_sent, window
from swarm.averaging.simulation.machine import Machine
from swarm.averaging.simulation.world import World


def misbehave(world: World, machine: Machine) -> None:
    world.liars.add(machine.name)
    world.touch(world.now, math.inf, lambda a, b: machine.name in (a, b))


@fault
def two_faced_reducer(world: World) -> None:
    """A reducer sends some members other bytes than those it reports."""

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        world.hoarders.add(machine.name)
        at, fooled = envelope.message.at, set(world.rng.sample(world.names, len(world.names) // 2))
        world.touch(world.now, world.now + 10.0, lambda a, b: machine.name in (a, b))

        def lie(source: Machine, to: str, envelope: Envelope) -> bool:
            message = envelope.message
            if source is not machine or not isinstance(message, Mean) or message.at.ballot != at.ballot:
                return False
            if to not in fooled or message.at.base != at.base:
                return False
            world.faults["two_faced_reducer"] += 1
            value = 1_000_000 + len(to)
            wire = world.forge(machine.name, replace(message, digest=digest_of(value)))
            world.transmit(machine.name, to, wire, ("mean", digest_of(value), value))
            return True

        world.traps.append(lie)
        return lie(machine, to, envelope)

    when_sent(world, (Mean,), act, after=world.rng.randrange(4))


@fault
def withheld(world: World) -> None:
    """A reducer reports a span and keeps its bytes to itself, asked or not."""
    allowed = world.rng.randrange(3)

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        world.hoarders.add(machine.name)
        until, sent = world.now + world.rng.uniform(1.0, 10.0), [0]
        world.touch(world.now, until, lambda a, b: machine.name in (a, b))

        def keep(source: Machine, to: str, envelope: Envelope) -> bool:
            if source is not machine or not isinstance(envelope.message, Mean) or world.now > until:
                return False
            sent[0] += 1
            world.faults["withheld"] += 1
            return sent[0] > allowed

        world.traps.append(keep)
        return keep(machine, to, envelope)

    when_sent(world, (Mean,), act, after=world.rng.randrange(8))


@fault
def equivocation(world: World) -> None:
    """A peer signs two different messages for one place, and sends one after the other."""
    liar = world.rng.choice(world.names)
    last = world.rng.randrange(2, 6)

    def twice(machine: Machine, to: str, envelope: Envelope) -> bool:
        message = envelope.message
        if machine.name != liar or message.at.round > last:
            return False
        other: Message | None = None
        if isinstance(message, Ready):
            other = replace(message, weight=message.weight + 1, samples=message.samples + 1)
        elif isinstance(message, Roster):
            other = replace(message, reducers=tuple(reversed(message.reducers)))
        elif isinstance(message, Reduced):
            other = replace(message, digest=digest_of(7))
            world.hoarders.add(liar)  # nobody has those bytes
        if other is None or other == message:
            return False
        if liar not in world.liars:
            misbehave(world, machine)
        world.faults["equivocation"] += 1
        wire = world.forge(liar, other)
        first, second = (wire, envelope.wire) if world.rng.random() < 0.5 else (envelope.wire, wire)
        world.transmit(liar, to, first, None)
        world.transmit(liar, to, second, None)
        return True

    world.traps.append(twice)


@fault
def two_proposals(world: World) -> None:
    """A host signs two outcomes for one ballot, and shows one to some and the other to the rest."""

    def act(machine: Machine, to: str, envelope: Envelope) -> bool:
        propose, fooled = envelope.message, set(world.rng.sample(world.names, world.rng.randrange(1, len(world.names))))
        assert isinstance(propose, Propose)
        outcome = propose.outcome
        whole = [index for index, span in enumerate(outcome.spans) if not span.void]
        if outcome.ballot != propose.at.ballot or not whole:
            return False
        void = world.rng.choice(whole)
        spans = tuple(VOID if index == void else span for index, span in enumerate(outcome.spans))
        other = replace(propose, outcome=replace(outcome, spans=spans))
        misbehave(world, machine)
        world.checks.outcomes[other.outcome.digest] = other.outcome
        world.checks.liveness.undecidable.add(outcome.base)
        wire = world.forge(machine.name, other)

        def lie(source: Machine, to: str, envelope: Envelope) -> bool:
            mine = isinstance(envelope.message, Propose) and envelope.body == propose_body
            if source is not machine or not mine or to not in fooled:
                return False
            world.faults["two_proposals"] += 1
            world.transmit(machine.name, to, wire, None)
            return True

        propose_body = envelope.body
        world.traps.append(lie)
        return lie(machine, to, envelope)

    when_sent(world, (Propose,), act)


@fault
def replay(world: World) -> None:
    """Old messages come again, to anybody."""
    kept: list[tuple[str, bytes]] = []
    start, end = window(world, 3.0, 10.0)

    def record(machine: Machine, to: str, envelope: Envelope) -> bool:
        if world.rng.random() < 0.1 and len(kept) < 200:
            kept.append((machine.name, envelope.wire))
        return False

    def again() -> None:
        for source, wire in world.rng.sample(kept, min(3, len(kept))):
            world.faults["replay"] += 1
            world.transmit(source, world.rng.choice(world.names), wire, None)
        if world.now < end:
            world.at(world.now + 0.1, again)

    world.traps.append(record)
    world.at(start, again)


@fault
def garbage(world: World) -> None:
    """Damaged messages, and bytes that never were one."""
    rng = world.rng
    start, end = window(world)

    def damage(machine: Machine, to: str, envelope: Envelope) -> bool:
        if not start <= world.now < end or rng.random() > 0.1:
            return False
        wire = bytearray(envelope.wire)
        for _ in range(rng.randrange(1, 4)):
            wire[rng.randrange(len(wire))] = rng.randrange(256)
        world.faults["garbage"] += 1
        world.transmit(machine.name, to, bytes(wire), None)
        return False

    world.traps.append(damage)
