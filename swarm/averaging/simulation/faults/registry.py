"""The faults, by name: each is a function that arranges, before the world runs, for something to go wrong.

A new kind is one function under `@fault`, in a module of this package or in a test; schedules then draw it like the
others. It uses the handles of `World` (`bend` links, `crash` and `freeze` peers, `traps` for messages, `at`) and
`when_sent`. The handles count what really happened in `world.faults` and tell the checks whom a fault touched; who
disturbs by other means counts and calls `world.touch` himself.
"""

from __future__ import annotations

from collections.abc import Callable

from swarm.averaging.round.messages import Envelope, Message
from swarm.averaging.simulation.machine import Machine
from swarm.averaging.simulation.world import World

Fault = Callable[[World], None]
FAULTS: dict[str, Fault] = {}


def fault(arrange: Fault) -> Fault:
    """Register a kind of fault under its function's name."""
    FAULTS[arrange.__name__] = arrange
    return arrange


def window(world: World, shortest: float = 0.5, longest: float = 6.0) -> tuple[float, float]:
    start = world.rng.uniform(0.0, world.span)
    return start, start + world.rng.uniform(shortest, longest)


def when_sent(
    world: World, kinds: tuple[type[Message], ...], act: Callable[[Machine, str, Envelope], bool], *, after: int = 0
) -> None:
    """Once, from some round on, after some messages of one of these kinds: `act`; True keeps the message back."""
    first, left = world.rng.randrange(1, 5), after

    def trap(machine: Machine, to: str, envelope: Envelope) -> bool:
        nonlocal left
        if not isinstance(envelope.message, kinds) or envelope.message.at.round < first:
            return False
        left -= 1
        if left >= 0:
            return False
        world.traps.remove(trap)
        return act(machine, to, envelope)

    world.traps.append(trap)
