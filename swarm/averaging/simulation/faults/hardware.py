"""Faults of what is below a peer: clocks that jump, slow disks, connections that break without anybody being gone."""

from __future__ import annotations

from swarm.averaging.simulation.faults.registry import fault, window
from swarm.averaging.simulation.world import World


@fault
def clock_jump(world: World) -> None:
    """A clock is put back, or ahead: what was to wait waits for too long, or not at all."""
    machine, jump = world.machines[world.rng.choice(world.names)], world.rng.uniform(-20.0, 20.0)
    when = world.rng.uniform(0.0, world.span)
    world.touch(when, when + abs(jump) + 5.0, lambda a, b: machine.name in (a, b))

    def strike() -> None:
        world.faults["clock_jump"] += 1
        world.say(machine.name, f"clock jumps by {jump:.1f} s")
        machine.offset += jump

    world.at(when, strike)


@fault
def slow_disk(world: World) -> None:
    """A peer that can hardly be heard, or hardly hears, for long has a slow disk too: bytes count late, checkpoints are
    far apart, and when it dies it falls back far."""
    machine, inward = world.machines[world.rng.choice(world.names)], world.rng.random() < 0.5
    (start, end), lag = window(world, 10.0, 30.0), world.rng.uniform(0.1, 1.0)
    late = world.rng.uniform(0.2, 2.0)

    def one_way(source: str, to: str) -> bool:
        return (to if inward else source) == machine.name

    world.bend("slow_disk", start, end, one_way, lambda delay: [delay + late])
    world.touch(start, end + 5.0, lambda a, b: machine.name in (a, b))

    def begin() -> None:
        machine.disk_seconds = lag

    world.at(start, begin)
    world.at(end, lambda: setattr(machine, "disk_seconds", 0.0))
    world.at(end - world.rng.uniform(0.0, 5.0), lambda: world.crash("slow_disk", machine.name, 1.0))


@fault
def false_alarm(world: World) -> None:
    """Peers are told of connections that broke, and nobody is gone."""
    start, end = window(world)
    some = world.rng.sample(world.names, world.rng.randrange(1, len(world.names)))
    world.touch(start, end + 3.0, lambda a, b: a in some or b in some)

    def alarm() -> None:
        name = world.rng.choice(some)
        world.faults["false_alarm"] += 1
        world.machines[name].lose(world.rng.choice([other for other in world.names if other != name]))
        if world.now < end:
            world.at(world.now + world.rng.uniform(0.02, 0.5), alarm)

    world.at(start, alarm)
