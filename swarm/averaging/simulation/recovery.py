"""Going on after a crash, from the own disk, and going to another state, from the own disk or from others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarm.averaging.round.events import Held, Received, Restore, Restored
from swarm.averaging.round.messages import Commit, Mean, seal
from swarm.averaging.simulation.arithmetic import Residuals

if TYPE_CHECKING:
    from swarm.averaging.simulation.machine import Machine


@dataclass
class Disk:
    """What survives a crash: commits and means of applied rounds, checkpoints with the residuals of that moment."""

    log: list[Commit] = field(default_factory=list)
    means: dict[bytes, int] = field(default_factory=dict)
    saved: dict[bytes, tuple[tuple[int, ...], Residuals]] = field(default_factory=dict)


def replay(machine: Machine, commits: list[Commit]) -> None:
    """Go on with the rounds after the checkpoint, if the disk has all their means; else the others tell.

    Each commit with its means before the next one, however slow the disk is, as a real peer does before all else.
    """
    rounds = [commit.outcome.means for commit in commits]
    wanted = {digest for digests in rounds for digest in digests}
    means = {digest: value for digest, value in machine.disk.means.items() if digest in wanted}
    machine.disk.means = means
    if len(means) < len(wanted):
        return
    for commit, digests in zip(commits, rounds, strict=True):
        header = commit.at._replace(peer=machine.name, incarnation=machine.incarnation)
        machine.take(Received(machine.name, seal(commit, lambda data: b"").wire))
        for digest in digests:
            wire = seal(Mean(header, 0, digest), lambda data: b"").wire
            machine.take(Received(machine.name, wire, Held(digest)), (("mean", digest, means[digest]),))


def restore(machine: Machine, effect: Restore) -> None:
    """Go back to a state of one's own, or take one from a peer that can be reached; look again until there is."""
    incarnation, world = machine.incarnation, machine.world
    world.say(machine.name, f"restores ({effect.lost} rounds lost, download {effect.download})")

    def attempt() -> None:
        if not machine.up or machine.incarnation != incarnation:
            return
        log = machine.core.log
        states = {head: state for head, (state, _) in machine.disk.saved.items()}
        if effect.download:
            states |= {donor.head: donor.state for donor in world.donors(machine)}
        usable = [head for head in states if head in log.index and log.index[head] <= len(log.chain) - 1]
        if not effect.download:
            common = log.index.get(effect.common, 0)
            usable = [head for head in usable if log.index[head] <= common]
        head = max(usable, key=lambda head: log.index[head])
        if effect.download and log.index[head] <= log.applied and log.index[head] + 1 < len(log.chain):
            world.at(world.now + 0.5, attempt)
            return
        machine.head, machine.state = head, states[head]
        world.checks.restored(machine)
        machine.take(Restored(head))
        world.cancel(machine.dues)
        machine.due_in(0.05)

    world.at(world.now + world.cost() * 5, attempt)
