"""One seeded schedule: a swarm, a few faults, at least four rounds, then calm, in which all must come together."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from swarm.averaging.round.policy import Policy
from swarm.averaging.simulation.faults import FAULTS
from swarm.averaging.simulation.world import World, read, tag

CALM_SECONDS = 240.0  # after the last fault, all must be one by then


@dataclass
class Result:
    seed: int
    violations: list[str]
    committed_rounds: int
    voided_spans: int
    forks: int
    faults: Counter[str] = field(default_factory=Counter)
    measured: int = 0  # rounds of which liveness was demanded
    seconds: float = 0.0


def build(seed: int, peers: tuple[int, int], kinds: tuple[str, ...], verbose: bool) -> World:
    """The swarm and its faults; everything follows from the seed."""
    rng = random.Random(seed)
    policy = Policy(
        spans=rng.randrange(1, 5),
        quorum_rule="two-thirds" if rng.random() < 0.2 else "majority",
        history_rounds=rng.choice((4, 16)),
        replay_rounds=rng.choice((2, 3)),
    )
    names = [f"p{index}" for index in range(rng.randrange(peers[0], peers[1] + 1))]
    world = World(seed, policy, names, verbose)
    world.save_every = rng.choice((1, 1, 2, 3))
    world.think = rng.uniform(0.1, 1.0)
    world.span = rng.uniform(2.0, 6.0)
    world.clients.update(name for name in names[3:] if rng.random() < 0.1)
    for name in names:
        world.bandwidth[name] = rng.choice((0.0, 1e7, 1e8))
    for kind in rng.sample(kinds, min(len(kinds), rng.choice((1, 1, 2, 3, 4)))):
        world.say("   ", f"fault: {kind}")
        FAULTS[kind](world)
    return world


def run(seed: int, peers: tuple[int, int] = (7, 7), kinds: tuple[str, ...] = (), verbose: bool = False) -> Result:
    """Run one schedule and say what it found. An exception of the core is a finding like any other."""
    world = build(seed, peers, kinds or tuple(FAULTS), verbose)
    try:
        play(world)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        world.checks.fail(f"{type(error).__name__} {error} in {last.name}, {last.filename}:{last.lineno}")
    read.cache_clear()  # of no use to another schedule, and looking for garbage would go through all of it
    tag.cache_clear()
    checks = world.checks
    return Result(
        seed,
        checks.violations,
        committed_rounds=len(checks.certified),
        voided_spans=checks.voided,
        forks=max(0, len(checks.lineages) - 1),
        faults=world.faults,
        measured=checks.liveness.measured,
        seconds=world.now,
    )


def play(world: World) -> None:
    for name in world.names:
        world.at(world.late.get(name, world.rng.uniform(0, 0.2)), partial(world.boot, name))
    rounds = world.rng.randrange(4, 8)
    world.run(lambda: False, world.span)
    world.run(lambda: world.quiet() and world.longest() >= rounds - 1, world.now + 60.0)
    if not world.faults:
        world.crash("crash_member", world.rng.choice(world.names), 1.0)
    world.calm()
    start = world.now
    whole = world.run(lambda: world.longest() >= rounds and world.united(), start + CALM_SECONDS)
    if not whole and not world.checks.violations:
        world.checks.fail(f"not one swarm {CALM_SECONDS:.0f} s after the last fault: {world.where()}")
    if not world.checks.violations:
        world.checks.ended()
