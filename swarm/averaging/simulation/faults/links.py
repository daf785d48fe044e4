"""Faults of the links: loss, delay, duplicates, reordering, one-way links, partitions."""

from __future__ import annotations

from collections.abc import Callable

from swarm.averaging.simulation.faults.registry import fault, window
from swarm.averaging.simulation.world import World


def links(world: World) -> Callable[[str, str], bool]:
    """Some of the links: all of one peer, one direction of one peer, or a random few."""
    rng = world.rng
    one = rng.choice(world.names)
    some = {(a, b) for a in world.names for b in world.names if a != b and rng.random() < 0.3}
    return rng.choice(
        [
            lambda a, b: one in (a, b),
            lambda a, b: a == one,
            lambda a, b: b == one,
            lambda a, b: (a, b) in some,
        ]
    )


@fault
def drop(world: World) -> None:
    """Messages get lost."""
    chance, rng = world.rng.uniform(0.05, 0.6), world.rng
    world.bend("drop", *window(world), links(world), lambda delay: [] if rng.random() < chance else [delay])


@fault
def delay(world: World) -> None:
    """Messages take long, in order."""
    extra = world.rng.uniform(0.2, 3.0)
    world.bend("delay", *window(world), links(world), lambda delay: [delay + extra])


@fault
def duplicate(world: World) -> None:
    """Messages come twice, the second time later."""
    rng = world.rng
    world.bend(
        "duplicate",
        *window(world),
        links(world),
        lambda delay: [delay, delay + rng.uniform(0, 2) * (rng.random() < 0.5)],
    )


@fault
def reorder(world: World) -> None:
    """Messages overtake one another."""
    rng = world.rng
    world.bend("reorder", *window(world), links(world), lambda delay: [delay + rng.uniform(0, 0.3)])


@fault
def asymmetric(world: World) -> None:
    """A peer is heard and hears nothing, or the other way round."""
    one, inward = world.rng.choice(world.names), world.rng.random() < 0.5
    world.bend("asymmetric", *window(world), lambda a, b: (b if inward else a) == one, lambda delay: [])


def split(world: World, kind: str, groups: int, start: float, end: float) -> None:
    side = {name: world.rng.randrange(groups) for name in world.names}
    world.bend(kind, start, end, lambda a, b: side[a] != side[b], lambda delay: [])


@fault
def partition(world: World) -> None:
    """Two sides do not hear each other."""
    split(world, "partition", 2, *window(world, 1.0, 10.0))


@fault
def lineages(world: World) -> None:
    """Sides without a quorum are parted for so long that each goes on by itself; then they meet."""
    world.think = max(world.think, 0.8)  # half a minute of rounds on each side is enough of them
    start = world.rng.uniform(0.5, world.span)
    split(world, "lineages", world.rng.choice((2, 3)), start, start + world.rng.uniform(20.0, 60.0))


@fault
def lineages_in_turn(world: World) -> None:
    """Three sides go on by themselves; two of them meet, and what they have become meets the third later."""
    world.think = max(world.think, 0.8)
    side = {name: index % 3 for index, name in enumerate(world.rng.sample(world.names, len(world.names)))}
    start = world.rng.uniform(0.5, world.span)
    first = start + world.rng.uniform(20.0, 30.0)
    second = first + world.rng.uniform(0.5, 15.0)
    kind = "lineages_in_turn"
    world.bend(kind, start, first, lambda a, b: side[a] != side[b], lambda delay: [])
    world.bend(kind, first, second, lambda a, b: (side[a] == 2) != (side[b] == 2), lambda delay: [])


@fault
def flapping(world: World) -> None:
    """Links break and come back several times a second."""
    period = world.rng.uniform(0.1, 1.0)
    world.bend(
        "flapping",
        *window(world),
        links(world),
        lambda delay: [] if (world.now + delay) // period % 2 else [delay],
    )
