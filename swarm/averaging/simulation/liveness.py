"""Does a round end in time? If a quorum of the electorate is undisturbed, within (failed hosts + 1) deadlines.

A deadline is the time one ballot may take by the policy: four phases, in the members' and the host's patience. It is
looked at afterwards, when it is known whom a fault has touched in that time.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from swarm.averaging.round.certificate import Position

if TYPE_CHECKING:
    from swarm.averaging.simulation.checks import Checks
    from swarm.averaging.simulation.machine import Machine

PHASES = 8.5  # units of patience: 1.5 for the call, 1.5 ready, 3.5 exchange, 2 for the votes
HOSTS = 3  # bounds for up to two failed hosts; later ballots are for forks too


class Liveness:
    def __init__(self, checks: Checks) -> None:
        self.checks = checks
        self.dues: dict[bytes, dict[str, float]] = defaultdict(dict)
        self.probed: set[bytes] = set()
        self.undecidable: set[bytes] = set()  # bases on which a host signed two outcomes: perhaps only a fork helps
        self.concluded: set[bytes] = (
            set()
        )  # bases on which somebody passed ballots over: their hosts are gone, it thinks
        self.measured = 0  # rounds of which the bound was really demanded

    def due(self, machine: Machine) -> None:
        """The records called this machine to the round after its tip."""
        position = machine.core.log.tip
        times = self.dues[position.head]
        times.setdefault(machine.name, self.checks.world.now)
        if position.head in self.probed or not position.electorate:
            return
        if all(seat.peer in times for seat in self.undisturbed(position, self.checks.world.now)):
            self.probed.add(position.head)
            for failed in range(HOSTS):
                self.later(position, failed)

    def later(self, position: Position, failed: int) -> None:
        world, start = self.checks.world, self.checks.world.now
        cores = [world.machines[seat.peer].core for seat in position.electorate if world.machines[seat.peer].up]
        last = max((core.context.last_seconds or world.policy.first_seconds for core in cores), default=0.0)
        slowest = min(world.machines[seat.peer].rate for seat in position.electorate)
        seconds = sum(PHASES * world.policy.patience(last, 0.0, ballot) for ballot in range(failed + 1)) / slowest
        world.at(start + seconds, lambda: self.check(position, failed, start))

    def check(self, position: Position, failed: int, start: float) -> None:
        checks, world = self.checks, self.checks.world
        failed -= len(world.hoarders)  # a reducer that hoards its bytes costs a ballot too
        if failed < 0 or position.head in self.undecidable:
            return
        able = {seat.peer for seat in self.undisturbed(position, start)}
        hosts = [seat.peer for seat in position.order[: failed + 1]]
        if not world.enough(len(able), len(position.electorate)) or hosts[-1] not in able or able & {*hosts[:-1]}:
            return
        if any(world.machines[name].core.log.tip.lineage != position.lineage for name in able):
            return
        self.measured += 1
        if position.head not in checks.parents.values():
            waited = world.now - start
            checks.fail(
                f"round {position.round + 1} is not certified after {waited:.1f} s, with {sorted(able)} in touch"
            )

    def forked(self, position: Position, roster: tuple[str, ...]) -> None:
        """Of a quorum that was called at one time and is in touch ever since, nobody thinks that it is gone, and forks.

        Other forks come after three ballots that were waited for. Damaged bytes may name another incarnation: the
        signatures that prevent it are not computed here.
        """
        world, times = self.checks.world, self.dues[position.head]
        if not times or position.head in self.undecidable or position.head not in self.concluded:
            return
        if world.faults["garbage"]:
            return
        start = min(times.values())
        together = {name for name, due in times.items() if due - start < world.policy.floor_seconds}
        able = {seat.peer for seat in self.undisturbed(position, start)} & together
        if world.enough(len(able), len(position.electorate)) and able >= {*roster}:
            self.checks.fail(f"round {position.round + 1} is a fork by {sorted(roster)}, with {sorted(able)} in touch")

    def undisturbed(self, position: Position, start: float) -> list:
        """Voters that run, and that no fault has parted from one another since `start`: the largest we can see."""
        world = self.checks.world
        machines = world.machines
        able = [
            seat
            for seat in position.electorate
            if machines[seat.peer].up
            and not machines[seat.peer].left
            and machines[seat.peer].incarnation == seat.incarnation
            and seat.peer not in world.liars
        ]

        disturbances = world.disturbances(start, world.now)
        if not disturbances:
            return able

        names = [seat.peer for seat in able]
        parted: dict[str, set[str]] = {name: set() for name in names}
        for where in disturbances:
            alone = {name for name in names if where(name, name)}
            for one, other in itertools.combinations_with_replacement(names, 2):
                if one in alone or other in alone or where(one, other) or where(other, one):
                    parted[one].add(other)
                    parted[other].add(one)
        while able:
            worst = max(able, key=lambda seat: len(parted[seat.peer]))
            if not parted[worst.peer]:
                break
            able.remove(worst)
            for others in parted.values():
                others.discard(worst.peer)
        return able
