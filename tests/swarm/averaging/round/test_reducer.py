"""The reducer asks again for what was lost, and not for what is slow."""

from __future__ import annotations

import math
from dataclasses import replace

from swarm.averaging.round.events import Held
from swarm.averaging.round.messages import Ballot, Fetch, Message, Part, Propose, Roster, Vote
from swarm.averaging.round.reducer import Reducer
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import FOUR, Table, host_of, running


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
    table.touch(table.now, 60.0, lambda a, b: "dora" in (a, b))

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


def test_reducers_give_up_on_senders_before_their_host_gives_up_on_them() -> None:
    """The host's last round was short and everybody else's long; half of the weight cannot be sent to others."""
    table = running(spans=4)
    host = host_of(table)
    for name in FOUR:
        table.machines[name].core.context.last_seconds = 0.2 if name == host else 20.0
    mute = [name for name in FOUR if name != host][:2]
    table.on(Part, 2, lambda machine, to, message: machine.name in mute)
    table.touch(table.now, math.inf, lambda source, to: source in mute and to not in mute)
    began = table.now
    table.until_round(2)
    outcome = table.outcome(2)
    assert not any(span.void for span in outcome.spans)
    assert not full(table)
    assert table.messages(2)["Roster"] == 3, "the host has reassigned a span"
    assert table.now - began < 5.0


def test_a_host_that_says_a_year_costs_its_own_ballot() -> None:
    table = running(spans=4)
    host = host_of(table)
    mute = [name for name in FOUR if name != host][:2]
    table.machines[host].core.context.patience = lambda number, bandwidths=(): 3e7  # type: ignore[method-assign]
    table.on(Part, 2, lambda machine, to, message: machine.name in mute)
    table.touch(table.now, math.inf, lambda source, to: source in mute and to not in mute)
    began = table.now
    table.until_round(2, *[name for name in FOUR if name != host])
    assert table.outcome(2, mute[0]).ballot.number == 1
    assert table.now - began < 30.0


def test_no_host_makes_a_reducer_report_at_once_that_nothing_came() -> None:
    table = running()
    roster = next(said.message for said in table.said if isinstance(said.message, Roster))
    anna = table.machines["anna"].core
    reducer = Reducer(anna.context, table.genesis, {})
    reducer.on_roster(table.now, replace(roster, patience=0.0))  # type: ignore[type-var]
    assert {task.gathering.limit for task in reducer.tasks.values()} == {anna.context.policy.floor_seconds}
    assert not any(task.senders for task in reducer.tasks.values())


def parts_here(table: Table, name: str) -> int:
    """Parts of others that this peer holds."""
    machine = table.machines[name]
    return sum(len(reducer.parts) for _, reducer in machine.core.catch_up.open.values())


def test_the_parts_of_a_span_are_let_go_of_once_it_is_computed() -> None:
    table, held = running(), []

    def count(machine: Machine, to: str, message: Message) -> bool:
        held.append(parts_here(table, machine.name))
        return False

    table.on(Vote, 2, count)
    table.until_round(2)
    assert full(table)
    assert held == [0] * (len(FOUR) - 1), "whoever votes, the host apart, has computed its spans"
    table.until(lambda: all(set(m.stores["part"]) <= set(given(m)) for m in table.machines.values()))


def given(machine: Machine) -> list[bytes]:
    """What this peer itself has sent, kept for audits."""
    mine = [digest for _, digests in machine.core.catch_up.sent for digest in digests]
    return mine + [d for member, _ in machine.core.catch_up.open.values() if member.gift for d in member.gift.digests]


def test_a_further_ballot_gets_every_part_again() -> None:
    """The first host keeps its proposal to itself: the others compute once more, from parts that they let go of."""
    table = running()
    first = host_of(table)

    def lose(machine: Machine, to: str, message: Message) -> bool:
        return machine.name == first and to != first

    table.on(Propose, 2, lose)
    table.until_round(2)
    outcome = table.outcome(2)
    assert outcome.ballot.number == 1
    assert first not in outcome.roster
    assert all(span.has(index) for span in outcome.spans for index in range(len(outcome.roster)))
    assert asked(table) == [], "nobody had to ask"


def test_a_part_that_comes_before_the_next_roster_outlives_what_is_being_computed() -> None:
    table = running()
    core, digest = table.machines["cleo"].core, bytes(32)
    first, second = Ballot(0, "anna", 1), Ballot(1, "bela", 1)
    for ballot in (first, second):
        part = Part(core.context.header(core.log.tip, ballot)._replace(peer="anna"), 0, digest, ())
        core.reducer.on_part(table.now, "anna", part, Held(digest))
    core.reducer.let_go(0, first)
    assert list(core.reducer.parts) == [(0, "anna")]
    core.reducer.let_go(0, second)
    assert not core.reducer.parts
    assert digest not in core.context.parts
