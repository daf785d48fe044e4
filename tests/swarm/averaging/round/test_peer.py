"""A round as its peers live it: the clean one, and one for each thing that can go wrong. Read as documentation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from swarm.averaging.round.events import Contribute, Due, Restored
from swarm.averaging.round.messages import (
    Commit,
    Envelope,
    Fetch,
    Mean,
    Part,
    Propose,
    Ready,
    Reduced,
    Roster,
    Vote,
    seal,
)
from swarm.averaging.simulation.arithmetic import Given
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import FOUR, Table, host_of, running

# --- nothing goes wrong ----------------------------------------------------------------------------------------------


def test_a_round_of_four_waits_for_nothing() -> None:
    table = running()
    table.until_round(2)
    outcome = table.outcome(2)
    assert outcome.ballot.number == 0
    assert outcome.roster == FOUR
    assert not any(span.void for span in outcome.spans)
    assert outcome.included == (True,) * 4
    assert len({table.state(name) for name in FOUR}) == 1
    last_ready = max(said.at for said in table.said if isinstance(said.message, Ready) and said.message.at.round == 2)
    # Ready, Roster, Part, (arithmetic), Reduced, Propose, Vote, Commit: one trip each and no pause in between
    assert table.now - last_ready <= 7 * table.latency + 1.5 * table.work + 1e-6


def test_a_clean_round_says_nothing_twice() -> None:
    """Four peers, four spans: a peer sends three parts and three means; what it says to itself is no message."""
    table = running()
    table.until_round(3)
    assert table.messages(2) == Counter(
        Call=3, Ready=3, Roster=3, Part=12, Mean=12, Reduced=3, Propose=3, Vote=3, Commit=3
    )


def test_the_first_round_is_a_fork_of_genesis() -> None:
    """Nobody has a seat before the first round, so those who came certify themselves."""
    table = running()
    assert table.outcome(1).fork
    assert table.outcome(1).lineage != table.genesis.lineage
    table.until_round(2)
    assert not table.outcome(2).fork
    assert table.outcome(2).lineage == table.outcome(1).lineage


def test_alone_a_peer_is_its_own_quorum() -> None:
    table = running("anna", rounds=5)
    assert table.said == []
    assert [table.outcome(number).roster for number in range(1, 6)] == [("anna",)] * 5
    assert table.now < 5 * (table.think + 0.3), "a round alone waits for somebody"


def test_whoever_has_nothing_to_give_is_ready_with_weight_zero() -> None:
    table = running()
    table.machines["bela"].encode = lambda base, _: idle(table.machines["bela"], base)  # type: ignore[method-assign]
    table.until_round(3)
    outcome = table.outcome(3)
    assert outcome.roster == FOUR
    assert outcome.included == (True, False, True, True)
    assert table.state("bela") == table.state("anna")


def idle(machine: Machine, base: bytes) -> None:
    machine.world.checks.ledger.encoded(machine, Given(machine.name, machine.incarnation, base, 0.0, [], [], [], []))
    machine.take(Contribute(base))


# --- somebody comes, somebody goes -----------------------------------------------------------------------------------


def test_a_joiner_contributes_at_once_and_votes_from_the_next_round_on() -> None:
    table = Table(*FOUR)
    table.start("anna", "bela", "cleo")
    table.until_round(2, "anna", "bela", "cleo")
    table.start("dora")
    table.until(lambda: "dora" in table.machines["anna"].core.log.tip.seats)
    joined = table.machines["anna"].core.log.tip.round
    first = table.outcome(joined)
    assert first.included[first.roster.index("dora")]
    table.until_round(joined + 1)
    decides = (Vote, Propose)  # a host's own vote is not sent
    votes = [said for said in table.said if isinstance(said.message, decides) and said.sender == "dora"]
    assert min(said.message.at.round for said in votes) == joined + 1


def test_nobody_waits_for_a_leaver() -> None:
    table = running(rounds=2)
    leaver = host_of(table, 3)
    table.machines[leaver].leave()
    left = table.now
    rest = [name for name in FOUR if name != leaver]
    table.until(lambda: all(leaver not in table.machines[n].core.log.tip.seats for n in rest))
    assert table.now - left < table.think + 0.5, "they waited for somebody who had said goodbye"
    assert table.counted("ballot_timeout") == 0


# --- somebody dies ---------------------------------------------------------------------------------------------------


def test_the_spans_of_a_dead_reducer_are_reassigned_once_and_nothing_is_lost() -> None:
    table = running(rounds=2)
    dead = host_of(table, 2)

    def die(machine: Machine, to: str, message: object) -> bool:
        if machine.name == dead and machine.up:
            machine.crash()
            table.touch(table.now, table.now + 60, lambda a, b: dead in (a, b))
        return machine.name == dead

    table.on(Mean, 3, die)
    rest = [name for name in FOUR if name != dead]
    table.until_round(3, *rest)
    outcome = table.outcome(3, rest[0])
    assert outcome.ballot.number == 0
    assert table.counted("reassigned") == 1
    assert {s.message.attempt for s in table.said if isinstance(s.message, Roster) and s.message.at.round == 3} == {
        0,
        1,
    }
    assert not any(span.void for span in outcome.spans)
    assert all(outcome.roster[span.reducer] != dead for span in outcome.spans)
    assert all(outcome.included), "what the dead one had sent before still counts"


def test_members_send_the_same_bytes_to_the_next_reducer() -> None:
    table = running(rounds=2)
    dead = host_of(table, 2)
    table.on(Mean, 3, lambda machine, to, message: machine.name == dead)
    table.on(Reduced, 3, lambda machine, to, message: machine.name == dead)
    table.touch(0.0, 60.0, lambda a, b: dead in (a, b))
    table.until_round(3)
    sent: dict[tuple[str, int], set[bytes]] = {}
    for said in table.said:
        if isinstance(said.message, Part) and said.message.at.round == 3:
            sent.setdefault((said.sender, said.message.span), set()).add(said.message.digest)
    assert all(len(digests) == 1 for digests in sent.values())


def test_a_span_that_two_reducers_lost_is_void_for_everybody() -> None:
    table = running(rounds=2)
    before = table.state("anna")
    lost = table.machines["anna"].core.context.owners.index(host_of(table, 2))
    table.on(Reduced, 3, lambda machine, to, message: message.span == lost)  # type: ignore[attr-defined]
    table.touch(0.0, 60.0, lambda a, b: True)
    host = host_of(table)
    table.until_round(3)
    outcome = table.outcome(3)
    assert host in outcome.roster
    void = [number for number, span in enumerate(outcome.spans) if span.void]
    assert void == [lost]
    after = {table.state(name) for name in FOUR}
    assert len(after) == 1
    assert after.pop()[lost] == before[lost]


def test_a_dead_host_is_followed_by_the_next_ballots_host() -> None:
    table = running(rounds=2)
    dead, heir = host_of(table, 0), host_of(table, 1)

    def die(machine: Machine, to: str, message: object) -> bool:
        if machine.name == dead and machine.up:
            machine.crash()
            table.touch(table.now, table.now + 60, lambda a, b: dead in (a, b))
        return True

    table.on(Roster, 3, lambda machine, to, message: machine.name == dead and die(machine, to, message))
    rest = [name for name in FOUR if name != dead]
    table.until_round(3, *rest)
    outcome = table.outcome(3, rest[0])
    assert (outcome.ballot.number, outcome.ballot.host) == (1, heir)
    assert outcome.roster == tuple(rest)
    assert not outcome.fork


def test_what_may_have_been_certified_is_proposed_again() -> None:
    """The host dies with the certificate in its hands: its successor must finish that outcome, byte for byte."""
    table = running(rounds=2)
    dead = host_of(table, 0)

    def die(machine: Machine, to: str, message: object) -> bool:
        machine.crash()
        table.touch(table.now, table.now + 60, lambda a, b: dead in (a, b))
        return True

    table.on(Commit, 3, lambda machine, to, message: machine.name == dead and die(machine, to, message))
    rest = [name for name in FOUR if name != dead]
    table.until_round(3, *rest)
    proposed = [said.message.outcome for said in table.said if isinstance(said.message, Propose)]
    assert len({outcome.digest for outcome in proposed if outcome.round == 3}) == 1
    outcome = table.outcome(3, rest[0])
    assert outcome.ballot.number == 0, "the outcome is still that of the dead host's ballot"
    assert dead in outcome.roster


@pytest.mark.parametrize("boundary", [0.0, 0.9])
def test_the_host_waits_for_a_micro_batch_of_which_it_was_told(boundary: float) -> None:
    table = running()
    host, slow = host_of(table), host_of(table, 1)
    table.machines[slow].slowness = 0.6  # until it is Ready
    table.on(Ready, 2, lambda machine, to, message: setattr(machine, "slowness", 0.0) is not None)
    take = table.machines[host].take
    table.machines[host].take = lambda event, told=(): take(  # type: ignore[method-assign]
        replace(event, boundary=boundary) if isinstance(event, Due) else event, told
    )
    table.until_round(2, host)
    assert (slow in table.outcome(2, host).roster) == (boundary > 0)
    assert table.outcome(2, host).ballot.number == 0


# --- somebody is cut off ---------------------------------------------------------------------------------------------


def test_a_peer_that_missed_rounds_replays_them_in_order() -> None:
    table = running(rounds=2)
    away = host_of(table, 3)
    table.bend("cut", table.now, table.now + 4.0, lambda a, b: away in (a, b), lambda delay: [])
    healed = table.now + 4.0
    rest = [name for name in FOUR if name != away]
    table.until(lambda: table.now >= healed)
    behind = table.machines[away].core.log.state.round
    assert table.machines[rest[0]].core.log.state.round > behind + 1
    table.until(table.united)
    applied = [what.split()[2] for who, what in table.told if who == away and what.startswith("applies round")]
    assert applied == [str(number) for number in range(1, len(applied) + 1)]
    assert table.state(away) == table.state(rest[0])


def test_a_voter_that_skips_a_round_by_taking_the_state_keeps_the_means_it_voted_for() -> None:
    """Others may need to replay the round, and whoever votes for it promises to have its bytes."""
    table = running(rounds=2)
    draw = table.rng.randrange
    table.rng.randrange = lambda low, high=None: draw(30 * low, 30 * high) if low == -40 else draw(low, high)  # type: ignore[method-assign]
    away = host_of(table, 3)
    rest = [name for name in FOUR if name != away]
    table.bend("cut", table.now, table.now + 60.0, lambda a, b: away in (a, b), lambda delay: [])
    table.until_round(6, *rest)
    chain, machine = table.machines[rest[0]].core.log.chain, table.machines[away]
    voted = [span.digest for span in table.outcome(4, rest[0]).spans]
    for digest in voted:  # as they came before its vote
        machine.core.context.hold(digest, 4)
        machine.stores["mean"][digest] = table.machines[rest[0]].stores["mean"][digest]
    held = machine.core.log.state.round
    for entry in chain[held + 1 : 7]:
        assert entry.commit is not None
        machine.receive(rest[0], seal(entry.commit, lambda data: b"").wire, None)
    machine.head, machine.state = chain[5].position.head, table.checks.states[chain[5].position.head]
    machine.take(Restored(chain[5].position.head))
    context = machine.core.context
    assert machine.core.log.state.round >= 5
    assert held < 4, "it was to skip the round for which it voted"
    assert not context.fresh & {*voted}, "they would be let go of with the next round"
    assert {*voted} <= context.held.keys() & machine.stores["mean"].keys()


def test_equal_bytes_are_kept_for_the_newest_round_that_names_them() -> None:
    """Who leaves a lineage and comes back replays old rounds, whose means may hold the bytes of newer ones."""
    table = running(rounds=3)
    context, old = table.machines["anna"].core.context, table.outcome(1)
    digest = old.spans[0].digest
    context.hold(digest, 3)
    context.held[digest] = 3
    context.fresh.discard(digest)
    context.release_means(old)
    assert context.held[digest] == 3


def test_halves_without_a_quorum_say_so_fork_and_heal() -> None:
    table = running(rounds=2)
    left = set(FOUR[:2])
    table.bend("cut", table.now, table.now + 40.0, lambda a, b: (a in left) != (b in left), lambda delay: [])
    healed = table.now + 40.0
    table.until(lambda: table.now >= healed, 50.0)
    assert table.counted("no_quorum") > 0
    lineages = {name: table.machines[name].core.log.tip.lineage for name in FOUR}
    assert lineages["anna"] == lineages["bela"]
    assert lineages["cleo"] == lineages["dora"]
    assert lineages["anna"] != lineages["cleo"]
    table.until(table.united, 120.0)
    assert len({table.state(name) for name in FOUR}) == 1
    assert sum("rounds lost" in what and "(0 " not in what for _, what in table.told) == 2, "two peers went back"


def test_a_minority_does_not_fork_while_the_majority_goes_on() -> None:
    """It forks for itself only after three ballots, and what it did then is given up when it is back."""
    table = running(rounds=2)
    away = host_of(table, 1)
    rest = [name for name in FOUR if name != away]
    lineage = table.machines[away].core.log.tip.lineage
    table.bend("cut", table.now, table.now + 60.0, lambda a, b: away in (a, b), lambda delay: [])
    table.until(lambda: table.machines[away].core.log.tip.lineage != lineage, 60.0)
    assert table.counted("no_quorum", away) + table.counted("ballot_timeout", away) >= table.policy.fork_ballots
    assert all(table.machines[name].core.log.tip.lineage == lineage for name in rest)
    table.until(table.united, 120.0)
    assert all(machine.core.log.tip.lineage == lineage for machine in table.machines.values())


def test_means_that_the_certificate_has_overtaken_are_not_asked_for() -> None:
    """They are megabytes and have lanes of their own; three of four are a quorum without whom they reach last."""
    table = running(rounds=1)
    late = host_of(table, 3)

    def slow(machine: Machine, to: str, envelope: Envelope) -> bool:
        message = envelope.message
        if not isinstance(message, Mean) or message.at.round != 2 or to != late or machine.name == late:
            return False
        carried = table.payload(machine, message)
        table.at(table.now + 0.3, lambda: table.transmit(machine.name, to, envelope.wire, carried))
        return True

    table.traps.append(slow)
    table.until_round(2)
    asked = [said for said in table.said if isinstance(said.message, Fetch) and said.message.digests]
    certified = min(said.at for said in table.said if isinstance(said.message, Commit) and said.message.at.round == 2)
    assert table.now > certified + 0.2, "it was to lack them when the certificate came"
    assert [(said.sender, said.to) for said in asked if said.at > certified] == []
