"""Voters that leave with their Bye: nobody waits for what they will not do, and a round they are in may still end."""

from __future__ import annotations

import random

import pytest

from swarm.averaging.round.certificate import Position, Seat
from swarm.averaging.round.events import Lost
from swarm.averaging.round.messages import Bye, Call, Commit, Header, Message, Propose, Roster, Vote
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.succession import Farewell, departed
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import Table, host_of, running

TWO, THREE, FIVE = ("anna", "bela"), ("anna", "bela", "cleo"), ("anna", "bela", "cleo", "dora", "emil")
PATIENCE = Policy().floor_seconds  # the least that is waited for somebody who says nothing; a silent ballot costs more
ROUND = 0.3  # more than a round takes at the table once it is due
HEAD, NEXT = b"h" * 32, b"n" * 32


def others(table: Table, *gone: str) -> list[str]:
    return [name for name in table.names if name not in gone]


def leave(table: Table, *names: str, stay: float = 0.0) -> float:
    """They say goodbye now and are gone `stay` seconds later. When that was."""
    for name in names:
        table.machines[name].leave()
        table.touch(table.now, table.now + 60.0, lambda a, b, name=name: name in (a, b))
        table.at(table.now + stay, table.machines[name].stop)
    return table.now


def back(table: Table, name: str) -> None:
    table.machines[name].left = False
    table.boot(name)


def bye(table: Table, name: str, **other: object) -> bytes:
    """Its Bye on the head where the table is, or one that differs in something."""
    core = table.machines[name].core
    at = core.context.header(core.log.tip, core.log.chain[-1].commit.at.ballot)  # type: ignore[union-attr]
    return table.forge(name, Bye(at._replace(**other)))


def left(table: Table, name: str) -> set[str]:
    return table.machines[name].core.context.left


# --- whose seat is empty ---------------------------------------------------------------------------------------------


def seated(*names: str) -> Position:
    return Position(b"r" * 32, b"l" * 32, 3, HEAD, tuple(Seat(name, 7, True, 1.0) for name in names))


def test_a_seat_is_left_by_the_bye_of_its_own_incarnation_on_a_head_that_is_known() -> None:
    at, known = seated(*THREE), {HEAD, b"before"}
    assert departed(at, {"anna": Farewell(7, HEAD)}, known) == {"anna"}
    assert departed(at, {"anna": Farewell(7, b"before")}, known) == {"anna"}, "it finished the round in which it left"
    assert departed(at, {"anna": Farewell(6, HEAD)}, known) == set(), "another process"
    assert departed(at, {"anna": Farewell(7, NEXT)}, known) == set(), "it knows of a round that is not known here"
    assert departed(at, {"dora": Farewell(7, HEAD)}, known) == set()


# --- two -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("wait", [0.0, 0.2, 0.4])
def test_one_of_two_goes_on_at_once_when_the_other_leaves_between_rounds(turn: int, wait: float) -> None:
    table = running(*TWO, rounds=2)
    table.run(lambda: False, table.now + wait)  # rounds are half a second apart
    leaver = host_of(table, turn)
    (stays,) = others(table, leaver)
    began = leave(table, leaver)
    table.until_round(3, stays)
    assert table.now - began < table.think + ROUND
    assert table.outcome(3, stays).fork
    assert table.outcome(3, stays).ballot.number == table.policy.fork_ballots
    assert table.outcome(3, stays).roster == (stays,)
    assert table.counted("ballot_timeout", stays) == 0
    table.until_round(6, stays)
    assert not any(table.outcome(number, stays).fork for number in (4, 5, 6)), "alone, it is its own quorum"


@pytest.mark.parametrize("role", ["host", "member"])
@pytest.mark.parametrize("kind", [Call, Roster, Propose, Vote, Commit])
def test_one_of_two_that_leaves_in_a_round_and_is_gone_costs_the_other_no_patience(
    role: str, kind: type[Message]
) -> None:
    """Whatever it was in the middle of: its connection breaks, and it finishes nothing any more."""
    table = running(*TWO, rounds=2)
    leaver = host_of(table, 0 if role == "host" else 1)
    (stays,) = others(table, leaver)
    began: list[float] = []

    def act(machine: Machine, to: str, message: Message) -> bool:
        if not began:
            began.append(table.now)
            table.at(table.now, lambda: leave(table, leaver))
            table.at(table.now + 2 * table.latency, lambda: table.machines[stays].take(Lost(leaver)))
        return False

    table.on(kind, 3, act)
    table.until_round(4, stays)
    assert began or kind is Vote, "a host's own vote is not sent"
    assert not began or table.now - began[0] < PATIENCE + table.think
    assert table.outcome(4, stays).roster == (stays,)


def test_one_of_two_that_is_gone_in_a_round_unnoticed_costs_one_ballot_and_not_three() -> None:
    """Nothing tells that its connection is broken: its vote is waited for, as for a peer that is slow."""
    table = running(*TWO, rounds=2)
    leaver = host_of(table, 1)
    (stays,) = others(table, leaver)
    began: list[float] = []
    table.on(Propose, 3, lambda machine, to, message: bool(began) or bool(began.append(leave(table, leaver))))
    table.until_round(3, stays)
    assert PATIENCE < table.now - began[0] < 2 * PATIENCE + ROUND
    assert table.outcome(3, stays).fork


@pytest.mark.parametrize("turn", [0, 1])
def test_who_leaves_in_a_round_may_finish_it_and_nobody_forks(turn: int) -> None:
    """The Bye comes when all have the roster; the peer that said it is there until the round is over."""
    table = running(*TWO, rounds=2)
    leaver = host_of(table, turn)
    (stays,) = others(table, leaver)
    went: list[float] = []

    def act(machine: Machine, to: str, message: Message) -> bool:
        if not went:
            went.append(table.now)
            table.at(table.now + 1.5 * table.latency, lambda: leave(table, leaver, stay=1.0))
        return False

    table.on(Roster, 3, act)
    table.until_round(3, stays)
    assert went
    assert not table.outcome(3, stays).fork
    assert table.outcome(3, stays).roster == TWO
    assert all(table.outcome(3, stays).included)
    began = table.now
    table.until_round(4, stays)
    assert table.now - began < table.think + ROUND, "its Bye named the head before, and its seat is empty all the same"
    assert table.outcome(4, stays).fork
    assert table.outcome(4, stays).roster == (stays,)


def test_who_said_bye_on_a_head_that_is_not_known_here_is_asked_for_it() -> None:
    """It certified the last round and nobody heard of it: that is learned, not left by a fork."""
    table = running(*TWO, rounds=2)
    host = host_of(table)
    (stays,) = others(table, host)
    lost: list[str] = []

    def lose(machine: Machine, to: str, message: Message) -> bool:
        lost.append(to)
        return len(lost) == 1

    table.on(Commit, 3, lose)
    table.until_round(3, host)
    assert lost == [stays]
    assert table.machines[stays].core.log.tip.round == 2
    began = leave(table, host, stay=1.0)
    table.until_round(3, stays)
    assert not table.outcome(3, stays).fork
    assert table.now - began < 4 * table.latency
    began = table.now
    table.until_round(4, stays)
    assert table.now - began < table.think + ROUND
    assert table.outcome(4, stays).fork


@pytest.mark.parametrize("away", [0.05, 0.45, 2.0, 10.0])
def test_who_left_and_comes_back_takes_part_again(away: float) -> None:
    table = running(*TWO, rounds=2)
    leaver = host_of(table)
    (stays,) = others(table, leaver)
    leave(table, leaver)
    table.at(table.now + away, lambda: back(table, leaver))
    table.until(lambda: table.now > 2 + away and table.united())
    together = table.machines[stays].core.log.tip.round
    table.until_round(together + 2)
    assert table.outcome(together + 2).roster == TWO
    assert not table.outcome(together + 2).fork
    assert left(table, stays) == set()
    assert table.machines[stays].core.context.farewells == {}


# --- more ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "leaving"), [(THREE, 1), (FIVE, 1), (FIVE, 2)])
@pytest.mark.parametrize("seed", range(10))
def test_where_a_quorum_stays_nobody_forks_and_nobody_waits(names: tuple[str, ...], leaving: int, seed: int) -> None:
    """In a round that is under way they may be waited for once: for what they give to it and for their votes."""
    table = running(*names, rounds=2)
    table.run(lambda: False, table.now + 0.07 * seed)
    under_way = table.messages(3)["Call"] > 0
    gone = random.Random(seed).sample(names, leaving)
    began = leave(table, *gone)
    rest = others(table, *gone)
    table.until(lambda: all(set(table.machines[name].core.log.tip.seats) == set(rest) for name in rest))
    assert table.now - began < table.think + ROUND + 2 * PATIENCE * under_way
    assert under_way or table.counted("ballot_timeout") == 0
    table.until_round(6, *rest)
    assert not any(table.outcome(number, rest[0]).fork for number in range(3, 7))


def test_who_left_and_is_back_before_the_round_is_waited_for_like_everybody() -> None:
    table = running(*THREE, rounds=2)
    leave(table, "cleo")
    table.at(table.now + 0.05, lambda: back(table, "cleo"))
    table.machines["cleo"].slowness = 0.08
    table.until_round(3)
    assert table.outcome(3).roster == THREE
    assert not table.outcome(3).fork


def test_the_turns_of_those_who_left_are_passed_over() -> None:
    table = running(*FIVE, rounds=2)
    gone = [host_of(table, 0), host_of(table, 1)]
    leave(table, *gone)
    rest = others(table, *gone)
    table.until_round(3, *rest)
    assert table.outcome(3, rest[0]).ballot.number == 2
    assert not table.outcome(3, rest[0]).fork


@pytest.mark.parametrize("seed", range(8))
def test_three_of_five_leave_and_the_rest_forks_at_once(seed: int) -> None:
    table = running(*FIVE, rounds=2)
    gone = random.Random(seed).sample(FIVE, 3)
    began = leave(table, *gone)
    rest = others(table, *gone)
    table.until_round(3, *rest)
    assert table.now - began < table.think + ROUND
    assert table.outcome(3, rest[0]).fork
    assert table.outcome(3, rest[0]).roster == tuple(rest)
    assert table.outcome(3, rest[0]).digest == table.outcome(3, rest[1]).digest


def test_without_two_thirds_of_those_who_stay_there_is_no_quorum_either() -> None:
    table = running(*THREE, rounds=2, quorum_rule="two-thirds")
    began = leave(table, "cleo")
    table.until_round(3, *TWO)
    assert table.now - began < table.think + ROUND
    assert table.outcome(3, "anna").fork
    assert table.outcome(3, "anna").roster == TWO


# --- what a Bye does not do ------------------------------------------------------------------------------------------


def test_a_bye_of_another_process_or_of_a_head_that_is_not_known_empties_no_seat() -> None:
    table = running(*TWO, rounds=2)
    anna = table.machines["anna"]
    anna.receive("bela", bye(table, "bela", base=NEXT), None)
    assert left(table, "anna") == set()
    anna.receive("bela", bye(table, "bela", base=table.genesis.head, incarnation=99), None)
    assert left(table, "anna") == set()
    anna.receive("bela", bye(table, "bela", run=b"x" * 32), None)
    table.until_round(3)
    assert not table.outcome(3).fork
    assert table.outcome(3).ballot.number == 0


def test_a_bye_before_the_last_start_says_nothing_of_the_process_that_is_here() -> None:
    table = running(*THREE, rounds=2)
    old = bye(table, "cleo")
    table.machines["cleo"].crash()
    table.boot("cleo")
    table.until(lambda: table.united() and table.machines["anna"].core.log.tip.round > 3)
    table.machines["anna"].receive("cleo", old, None)
    assert left(table, "anna") == set()


def test_nobody_can_say_bye_for_another() -> None:
    """It counts only from the peer that it names, with its signature."""
    table = running(*TWO, rounds=2)
    anna = table.machines["anna"]
    told = bye(table, "bela")
    anna.receive("cleo", told, None)
    anna.receive("anna", told, None)
    assert table.counted("impostor", "anna") == 2
    anna.receive("bela", told[:-1] + bytes([told[-1] ^ 1]), None)
    assert table.counted("bad_signature", "anna") == 1
    assert left(table, "anna") == set()
    anna.receive("bela", told, None)
    assert left(table, "anna") == {"bela"}


def test_who_says_bye_and_goes_on_gives_up_its_own_seat_alone() -> None:
    """Two of five lie about it in every round: the others are a quorum, and never fork or wait."""
    table = running(*FIVE, rounds=2)
    liars, honest = ("dora", "emil"), ("anna", "bela", "cleo")
    table.touch(table.now, table.now + 60.0, lambda a, b: a in liars or b in liars)

    def lie() -> None:
        for liar in liars:
            for name in honest:
                table.transmit(liar, name, bye(table, liar), None)
        table.at(table.now + 0.05, lie)

    lie()
    began = table.now
    table.until_round(10, *honest)
    assert not any(table.outcome(number, "anna").fork for number in range(3, 11))
    assert table.counted("ballot_timeout", "anna") == 0
    assert table.now - began < 8 * (table.think + ROUND + 3 * 0.2)


def test_what_is_remembered_of_byes_is_bounded_by_the_seats() -> None:
    table = running(*TWO, rounds=2)
    anna = table.machines["anna"].core
    for number in range(300):
        name = f"stranger{number}"
        at: Header = anna.context.header(anna.log.tip, anna.log.chain[-1].commit.at.ballot)._replace(  # type: ignore[union-attr]
            peer=name, incarnation=number
        )
        table.machines["anna"].receive(name, table.forge(name, Bye(at)), None)
        table.machines["anna"].receive("bela", bye(table, "bela", incarnation=number + 1, base=NEXT), None)
    assert set(anna.context.farewells) == {"bela"}
    table.until_round(3)
    assert anna.context.farewells == {}
