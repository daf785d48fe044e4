"""Peers of a running swarm are killed at moments that nobody chose, and start again: none contradicts another."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from tests.swarm.averaging.live.test_live_kills import Peers, healed, peers

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(420)]
COUNT, KILLS = 4, 5
SETTLED_SECONDS = 90.0


@pytest.mark.parametrize("seed", [1])
def test_random_peers_die_at_random_moments_and_all_end_with_the_same_bytes(tmp_path: Path, seed: int) -> None:
    chance, pause = random.Random(seed), threading.Event()
    with peers(tmp_path, COUNT) as group:
        group.wait(lambda: all(group.step(name) >= 2 for name in range(COUNT)), 90, "four peers in step")
        for _ in range(KILLS):
            pause.wait(chance.uniform(0.5, 4.0))
            name = chance.randrange(COUNT)
            print(f"seed {seed}: {name} dies at step {group.step(name)}")
            group.processes[name].kill()
            group.processes[name].wait(10)
            pause.wait(chance.uniform(0.0, 4.0))
            group.again(name)
            before = max(group.step(other) for other in range(COUNT))
            group.wait(lambda before=before: max(map(group.step, range(COUNT))) > before, SETTLED_SECONDS, "a round")
        reached = max(group.step(name) for name in range(COUNT))
        group.wait(lambda: all(group.step(n) > reached for n in range(COUNT)), SETTLED_SECONDS, "rounds of all four")
        healed(group, range(COUNT))
        nothing_contradicts(group)


def nothing_contradicts(group: Peers) -> None:
    """Every state that anybody ever had after a committed round is everybody's who had that round of that lineage."""
    states: dict[tuple[str, int], set[str]] = defaultdict(set)
    for name in range(COUNT):
        for line in group.lines(name):
            if "step" in line:
                states[line["lineage"], line["step"]].add(line["digest"])
    assert len(states) >= KILLS
    assert {place: found for place, found in states.items() if len(found) > 1} == {}
