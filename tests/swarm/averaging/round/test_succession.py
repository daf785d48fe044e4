"""Voters that died and came back as another incarnation: nobody waits for the ballots that were theirs."""

from __future__ import annotations

import random

import pytest

from swarm.averaging.round.certificate import Position, Seat
from swarm.averaging.round.messages import Call, Fetch, Propose, seal
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.succession import hopeless, living
from tests.swarm.averaging.round.table import Table, host_of, running

FIVE = ("anna", "bela", "cleo", "dora", "emil")
POLICY = Policy()
PATIENCE = 1.5 * POLICY.floor_seconds  # the least that a silent ballot costs


def position(size: int) -> Position:
    seats = tuple(Seat(f"p{index}", 7, True, 1.0) for index in range(size))
    return Position(b"r" * 32, b"l" * 32, 3, b"h" * 32, seats)


def owners(at: Position, *numbers: int) -> set[str]:
    return {at.order[number % len(at.order)].peer for number in numbers}


# --- which ballot is next --------------------------------------------------------------------------------------------


def test_while_all_live_every_ballot_is_waited_for() -> None:
    assert [living(position(5), POLICY, number, set()) for number in range(5)] == [0, 1, 2, 3, 4]


def test_ballots_of_the_dead_are_passed_over() -> None:
    at = position(5)
    assert living(at, POLICY, 0, owners(at, 0)) == 1
    assert living(at, POLICY, 0, owners(at, 0, 1)) == 2
    assert living(at, POLICY, 1, owners(at, 0)) == 1
    assert living(at, POLICY, 1, owners(at, 1)) == 2


def test_without_a_quorum_of_the_living_a_fork_is_next() -> None:
    at = position(5)
    assert not hopeless(at, POLICY, owners(at, 3, 4))
    assert hopeless(at, POLICY, owners(at, 2, 3, 4))
    assert living(at, POLICY, 0, owners(at, 2, 3, 4)) == POLICY.fork_ballots
    assert living(at, POLICY, 4, owners(at, 2, 3, 4)) == 4


def test_two_thirds_are_out_of_reach_earlier_than_a_majority() -> None:
    at = position(6)
    assert not hopeless(at, Policy(quorum_rule="majority"), owners(at, 0, 1))
    assert hopeless(at, Policy(quorum_rule="two-thirds"), owners(at, 0, 1))


def test_strangers_seats_are_not_counted() -> None:
    at = position(3)
    assert not hopeless(at, POLICY, {"who", "are", "these"})


def test_a_founding_electorate_is_empty_and_never_hopeless() -> None:
    assert not hopeless(position(0), POLICY, set())
    assert living(position(0), POLICY, 0, {"p0"}) == 0


# --- a swarm ---------------------------------------------------------------------------------------------------------


def restart(table: Table, *names: str) -> float:
    """Kill these processes and start them again at once. When that was."""
    for name in names:
        table.machines[name].crash()
    for name in names:
        table.boot(name)
    return table.now


def test_all_killed_at_once_go_on_without_waiting_out_a_ballot() -> None:
    """Everybody's seat is dead, everybody is back and on the same head: no certificate can be hidden anywhere."""
    table = running(*FIVE, rounds=2)
    began = restart(table, *FIVE)
    table.until_round(3)
    assert table.now - began < PATIENCE
    assert table.outcome(3).fork
    assert table.outcome(3).roster == FIVE


def test_with_one_not_yet_back_it_is_waited_for_as_long_as_a_phase_of_a_round() -> None:
    table = running(*FIVE, rounds=2)
    for name in FIVE:
        table.machines[name].crash()
    table.start(*FIVE[:4])
    began = table.now
    table.run(lambda: False, table.now + 0.5 * POLICY.first_seconds)
    assert [table.machines[name].core.log.tip.round for name in FIVE[:4]] == [2] * 4, "it might know of a certificate"
    table.until_round(3, *FIVE[:4])
    assert table.now - began < 2.5 * POLICY.first_seconds
    assert table.outcome(3).roster == FIVE[:4]


def test_hosts_that_restarted_are_passed_over_without_a_fork() -> None:
    table = running(*FIVE, rounds=2)
    began = restart(table, host_of(table, 0), host_of(table, 1))
    table.until_round(3)
    assert table.now - began < PATIENCE
    assert not table.outcome(3).fork
    assert table.outcome(3).ballot.number == 2
    assert table.outcome(3).roster == FIVE


def test_who_is_dead_and_stays_so_is_waited_for() -> None:
    """Only coming back proves it."""
    table = running(*FIVE, rounds=2)
    host = host_of(table, 0)
    table.machines[host].crash()
    began = table.now
    table.until_round(3, *[name for name in FIVE if name != host])
    assert table.now - began >= PATIENCE
    assert table.outcome(3, host_of(table, 1)).ballot.number == 1


def test_a_member_that_restarted_costs_no_ballot() -> None:
    table = running(*FIVE, rounds=2)
    member = next(name for name in FIVE if name != host_of(table))
    restart(table, member)
    table.until_round(3)
    assert table.outcome(3).ballot.number == 0
    assert not table.outcome(3).fork


@pytest.mark.parametrize("dead", range(6))
def test_any_number_of_five_may_restart(dead: int) -> None:
    """Together again in less time than a silent ballot costs; a fork only where a majority of the seats is dead."""
    for seed in range(8):
        table = running(*FIVE, rounds=2)
        names = random.Random(seed).sample(FIVE, dead)
        began = restart(table, *names)
        table.until_round(3)
        assert table.now - began < PATIENCE, names
        assert table.outcome(3).fork == (dead >= 3), names
        table.until_round(5)
        assert table.outcome(5).roster == FIVE


def test_what_a_dying_host_has_proposed_is_finished_first() -> None:
    """Its votes may be a certificate that only it has seen: the next ballot's host proposes the same outcome."""
    table = running(*FIVE, rounds=2)
    host = host_of(table)
    proposed: list[bytes] = []

    def die(machine: object, to: str, message: Propose) -> bool:
        proposed.append(message.outcome.digest)
        if len(proposed) == 4:
            table.at(table.now + 3 * table.latency, lambda: restart(table, host))
        return False

    table.on(Propose, 3, die)  # type: ignore[arg-type]
    table.traps.append(
        lambda machine, to, envelope: type(envelope.message).__name__ == "Commit" and machine.name == host
    )
    table.until_round(3, *[name for name in FIVE if name != host])
    assert table.outcome(3, host_of(table, 1)).digest in proposed


def test_nobody_can_retire_the_seat_of_another() -> None:
    """Only who is authenticated as that peer, or has its signature, can tell of its incarnation."""
    table = running(*FIVE, rounds=2)
    anna, bela = table.machines["anna"], table.machines["bela"]
    place = anna.core.context.header(anna.core.log.tip, anna.core.log.chain[-1].commit.at.ballot)  # type: ignore[union-attr]
    forged = place._replace(peer="cleo", incarnation=99)
    bela.receive("anna", seal(Fetch(forged, heads=()), lambda data: b"").wire, None)
    bela.receive("cleo", seal(Call(forged), lambda data: b"no").wire, None)
    assert bela.core.context.reborn == set()
    bela.receive("cleo", seal(Fetch(forged, heads=()), lambda data: b"").wire, None)
    assert bela.core.context.reborn == {"cleo"}
    bela.receive(
        "dora",
        seal(Fetch(place._replace(peer="dora", base=b"x" * 32, incarnation=99), heads=()), lambda data: b"").wire,
        None,
    )
    assert bela.core.context.reborn == {"cleo"}, "another head proves nothing"
