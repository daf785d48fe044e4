"""The reducer asks again for what was lost, and not for what is slow."""

from __future__ import annotations

from swarm.averaging.round.messages import Fetch, Message, Part
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import FOUR, Table, running


def asked(table: Table) -> list[tuple[str, str, tuple[int, ...]]]:
    """Who asked whom for which parts in round 2."""
    fetches = [said for said in table.said if isinstance(said.message, Fetch) and said.message.at.round == 2]
    return [(said.sender, said.to, said.message.spans) for said in fetches if said.message.spans]  # type: ignore[union-attr]


def full(table: Table) -> bool:
    """Does every span of round 2 hold everybody's part?"""
    return all(span.has(index) for span in table.outcome(2).spans for index in range(len(FOUR)))


def test_a_part_that_is_on_its_way_is_not_asked_for() -> None:
    """A slow link: each part takes a while after the one before; the deadline is 0.24 s, halfway to it is 0.12."""
    table = running(spans=8)

    def slow(machine: Machine, to: str, message: Message) -> bool:
        if machine.name == "dora":
            table.arrival["dora", to] = max(table.now + 0.05, table.arrival.get(("dora", to), 0.0)) + 0.08
        return False

    table.on(Part, 2, slow)
    table.until_round(2)
    assert full(table)
    assert asked(table) == []


def test_a_part_that_others_have_overtaken_is_asked_for_at_once() -> None:
    table, lost = running(spans=8), []

    def lose(machine: Machine, to: str, message: Message) -> bool:
        assert isinstance(message, Part)
        if machine.name == "dora" and not lost:
            lost.append((to, message.span))
            return True
        return False

    table.on(Part, 2, lose)
    table.until_round(2)
    assert full(table)
    assert asked(table) == [(lost[0][0], "dora", (lost[0][1],))]
