"""Faults of peers that leave with their Bye, and come back."""

from __future__ import annotations

from functools import partial

from swarm.averaging.round.events import Lost
from swarm.averaging.simulation.faults.registry import fault
from swarm.averaging.simulation.world import World


@fault
def goodbyes(world: World) -> None:
    """Some peers, perhaps all but one, say goodbye at about the same time; each comes back later as another process."""
    rng = world.rng
    when = rng.uniform(0.5, world.span)
    for name in rng.sample(world.names, rng.randrange(1, len(world.names))):
        world.at(when + rng.uniform(0.0, 0.3) * (rng.random() < 0.5), partial(leave, world, name))


def leave(world: World, name: str) -> None:
    machine, rng = world.machines[name], world.rng
    if not machine.up or machine.left:
        return
    stay = rng.uniform(0.0, 2.0) * (rng.random() < 0.5)
    away = rng.uniform(0.05, 15.0)
    world.faults["goodbyes"] += 1
    world.say(name, f"leaves, and is gone {stay:.2f} s later for {away:.1f} s")
    world.touch(world.now, world.now + stay + away + 5.0, lambda a, b: name in (a, b))
    machine.leave()
    incarnation = machine.incarnation

    def stop() -> None:
        assert machine.incarnation == incarnation, "nobody starts who has not stopped"
        machine.stop()
        machine.left = False  # not for good: to the observer it is one of those who are to come together again
        for other in world.machines.values():
            if other.up and other is not machine and rng.random() < 0.5:
                other.later(world.latency, Lost(name))
        world.at(world.now + away, lambda: world.boot(name))

    world.at(world.now + stay, stop)
