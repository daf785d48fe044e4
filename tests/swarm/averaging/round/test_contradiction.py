"""Who signs two different things for one place: refused, kept as proof, and never two outcomes for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.averaging.round.certificate import Position, Seat, bound_votes, fork_lineage
from swarm.averaging.round.messages import (
    VOID,
    Ballot,
    Envelope,
    Header,
    LastVote,
    Message,
    Outcome,
    Propose,
    Ready,
    Vote,
    seal,
)
from swarm.averaging.round.policy import Policy
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import FOUR, host_of, running

FIVE = (*FOUR, "edda")
ZERO = Ballot(0, "anna", 0)
POSITION = Position(bytes(32), bytes(32), 1, bytes(32), tuple(Seat(name, 0, True, 1.0) for name in FIVE))
A, B = b"a" * 32, b"b" * 32


def ready(name: str, vote: LastVote | None) -> Envelope[Ready]:
    at = Header(POSITION.run, POSITION.lineage, 2, POSITION.head, Ballot(2, "cleo", 0), name, 0)
    return seal(Ready(at, 1.0, 1, 0.0, True, bytes(32), b"", vote), lambda data: b"s")


def bound(rule: str, **votes: bytes | LastVote | None) -> list[bytes]:
    """What these peers' last votes bind to; bytes are for an outcome in the first ballot, which is anna's."""
    proof = [ready(n, LastVote(ZERO, vote) if isinstance(vote, bytes) else vote) for n, vote in votes.items()]
    return [vote.outcome for vote in bound_votes(POSITION, Policy(quorum_rule=rule), proof)]  # type: ignore[arg-type]


def test_one_vote_binds_and_the_highest_ballot_counts() -> None:
    assert bound("majority", bela=None, cleo=None, dora=None) == []
    assert bound("majority", bela=A, cleo=None, dora=None) == [A]
    later = LastVote(Ballot(1, "bela", 0), B)
    assert bound("majority", bela=A, cleo=A, dora=later) == [B]
    assert bound("majority", zed=A, bela=None, cleo=None, dora=None) == [], "a stranger's vote is none"


def test_of_two_outcomes_of_one_ballot_only_what_can_have_a_quorum_binds() -> None:
    """anna has signed two proposals and may have voted for either, or for both."""
    assert bound("two-thirds", bela=A, cleo=A, dora=A, edda=B) == [A]
    assert bound("two-thirds", anna=B, bela=A, cleo=A, dora=A, edda=B) == [A], "her own word counts for nothing"
    assert bound("two-thirds", bela=A, cleo=A, dora=B, edda=B) == [], "neither can have four of five"
    assert bound("majority", bela=A, cleo=A, dora=A, edda=B) == [A]
    assert bound("majority", bela=A, cleo=A, dora=B, edda=B) == [A, B], "with anna's vote, either can have three"
    assert bound("majority", bela=A, cleo=B, dora=None) == [A, B], "edda has not been asked"


def test_a_vote_for_an_outcome_that_nobody_has_seen_holds_up_nobody() -> None:
    """Its voter would have sent it ahead; a quorum that has not voted for it shows that it was never certified."""
    table = running(*FIVE, rounds=2)
    dead, heir = host_of(table), host_of(table, 1)
    liar = next(name for name in FIVE if name not in (dead, heir))
    table.liars.add(liar)
    table.touch(0.0, 60.0, lambda a, b: dead in (a, b))
    table.machines[dead].crash()

    def claim(machine: Machine, to: str, message: Message) -> bool:
        assert isinstance(message, Ready)
        if machine.name == liar:
            voted = replace(message, vote=LastVote(ZERO, A))
            table.transmit(liar, to, table.forge(liar, voted), None)
        return machine.name == liar

    table.on(Ready, 3, claim)
    rest = [name for name in FIVE if name not in (dead, liar)]
    table.until_round(3, *rest)
    outcome = table.outcome(3, rest[0])
    assert (outcome.ballot.number, outcome.roster, outcome.fork) == (1, tuple(rest), False)


@pytest.mark.parametrize("rule", ["majority", "two-thirds"])
@pytest.mark.parametrize("dies", [True, False])
def test_a_host_that_signs_two_proposals_gets_one_certified_at_most(rule: str, dies: bool) -> None:
    """The outcome with the quorum has the lower digest, so that choosing by digest would certify the other as well."""
    table = running(*FIVE, rounds=2, quorum_rule=rule)
    host = host_of(table)
    rest = [name for name in FIVE if name != host]
    table.liars.add(host)
    table.touch(0.0, 60.0, lambda a, b: host in (a, b))
    shown: dict[str, Outcome] = {}

    def lie(machine: Machine, to: str, message: Message) -> bool:
        assert isinstance(message, Propose)
        if machine.name != host:
            return False
        mine = message.outcome
        other = replace(mine, spans=(VOID, *mine.spans[1:]))
        table.checks.outcomes[other.digest] = other
        low, high = sorted((mine, other), key=lambda outcome: outcome.digest)
        shown[to] = high if to == rest[-1] else low
        table.transmit(host, to, table.forge(host, replace(message, outcome=shown[to])), None)
        return True

    def die(machine: Machine, to: str, message: Message) -> bool:
        if machine.name != host and isinstance(message, Vote) and machine.name == rest[0] and dies:
            table.at(table.now + 2 * table.latency, table.machines[host].crash)
        return False

    table.on(Propose, 3, lie)
    table.on(Vote, 3, die)
    table.until_round(3, *rest)
    assert len({outcome.digest for outcome in shown.values()}) == 2, "the host has lied to nobody"
    certified = {table.outcome(3, name).digest for name in rest}
    assert len(certified) == 1
    assert not table.outcome(3, rest[0]).fork
    assert len({table.state(name) for name in rest}) == 1


def test_the_second_message_is_refused_and_both_are_kept_as_proof() -> None:
    table = running(rounds=2)
    liar, host = host_of(table, 2), host_of(table)
    table.liars.add(liar)

    def twice(machine: Machine, to: str, message: Message) -> bool:
        assert isinstance(message, Ready)
        if machine.name == liar:
            table.transmit(liar, to, table.forge(liar, replace(message, weight=message.weight + 1)), None)
        return False

    proofs: list[tuple[str, str]] = []
    table.checks.proved = lambda machine, peer: proofs.append((machine.name, peer))  # type: ignore[method-assign]
    table.on(Ready, 3, twice)
    table.until_round(3)
    assert proofs == [(host, liar)]
    assert table.counted("equivocation", host) == 1


def test_nobody_votes_for_a_fork_while_the_old_lineage_may_go_on() -> None:
    """A host that calls a fork in the first ballot, with everybody Ready, parts the swarm from whoever is not there."""
    table = running(rounds=2)
    host = host_of(table)
    rest = [name for name in FOUR if name != host]
    table.liars.add(host)
    table.touch(0.0, 60.0, lambda a, b: host in (a, b))

    def fork(machine: Machine, to: str, message: Message) -> bool:
        assert isinstance(message, Propose)
        if machine.name == host and not message.outcome.fork:
            lineage = fork_lineage(message.at.base, message.at.ballot)
            other = replace(message.outcome, fork=True, lineage=lineage)
            table.checks.outcomes[other.digest] = other
            table.transmit(host, to, table.forge(host, replace(message, outcome=other)), None)
        return machine.name == host

    table.on(Propose, 3, fork)
    lineage = table.machines[rest[0]].core.log.tip.lineage
    table.until_round(3, *rest)
    assert table.counted("propose_fork") >= 3
    assert {table.machines[name].core.log.tip.lineage for name in rest} == {lineage}
