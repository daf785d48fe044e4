"""A few real cores around a table, on the simulation's world: everything said is written down, nothing is random.

The simulation's observer watches here too, so that every scenario also checks the invariants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from swarm.averaging.round.messages import Envelope, Message, Outcome
from swarm.averaging.round.policy import Policy
from swarm.averaging.simulation.machine import Machine
from swarm.averaging.simulation.world import World

FOUR = ("anna", "bela", "cleo", "dora")


@dataclass(frozen=True)
class Said:
    at: float
    sender: str
    to: str
    message: Message


class Table(World):
    """`Table("a", "b")` has two peers; `start` starts them, `until` lets things happen."""

    def __init__(self, *names: str, spans: int = 4, **policy: object) -> None:
        self.said: list[Said] = []
        self.told: list[tuple[str, str]] = []
        super().__init__(1, Policy(spans=spans, **policy), list(names))  # type: ignore[arg-type]
        self.traps.append(self._write_down)

    def _write_down(self, machine: Machine, to: str, envelope: Envelope) -> bool:
        self.said.append(Said(self.now, machine.name, to, envelope.message))
        return False

    def say(self, who: str, what: str) -> None:
        self.told.append((who, what))

    def start(self, *names: str) -> None:
        for name in names or self.names:
            self.boot(name)

    def until(self, condition: Callable[[], bool], limit: float = 60.0) -> None:
        happened = self.run(condition, self.now + limit)
        assert self.checks.violations == []
        assert happened, f"not within {limit} s: {self.where()}"

    def until_round(self, number: int, *names: str) -> None:
        """Until these peers (all) have applied this round."""
        self.until(lambda: all(self.machines[n].core.log.state.round >= number for n in names or self.names))

    def outcome(self, number: int, name: str = "") -> Outcome:
        """What was certified in this round, as this peer's log has it."""
        commit = self.machines[name or self.names[0]].core.log.chain[number].commit
        assert commit is not None
        return commit.outcome

    def messages(self, number: int) -> Counter[str]:
        """How many messages of each kind were sent in this round."""
        return Counter(type(said.message).__name__ for said in self.said if said.message.at.round == number)

    def counted(self, name: str, who: str = "") -> int:
        return sum(what == f"Count(name={name!r})" and who in ("", peer) for peer, what in self.told)

    def on(self, kind: type[Message], number: int, act: Callable[[Machine, str, Message], bool]) -> None:
        """Before each message of this kind in this round is sent: `act`; True keeps it back."""

        def trap(machine: Machine, to: str, envelope: Envelope) -> bool:
            message = envelope.message
            return isinstance(message, kind) and message.at.round == number and act(machine, to, message)

        self.traps.append(trap)

    def state(self, name: str) -> tuple[int, ...]:
        return self.machines[name].state


def running(*names: str, rounds: int = 1, **policy: object) -> Table:
    """A table at which some rounds are over and everybody has a seat."""
    table = Table(*(names or FOUR), **policy)  # type: ignore[arg-type]
    table.start()
    table.until_round(rounds)
    return table


def host_of(table: Table, ballot: int = 0) -> str:
    """Who hosts this ballot of the round to come."""
    return table.machines[table.names[0]].core.log.tip.order[ballot].peer
