"""What a member can do to the others: waste its own contribution, and nothing else."""

from __future__ import annotations

import pytest

from swarm.averaging.round.events import Contribute
from swarm.averaging.round.messages import Message, Part, Reduced
from swarm.averaging.round.policy import effective_weights
from swarm.averaging.simulation.arithmetic import Given, digest_of
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import FOUR, Table, host_of, running

HUGE = 1_000_000  # a value whose norm is hundreds of times the others'


def gives(table: Table, name: str, sent: list[int], weight: float = 8.0) -> None:
    """From now on this peer contributes these values in every round."""
    machine = table.machines[name]

    def encode(base: bytes, incarnation: int) -> None:
        owed = list(machine.residuals.sender)
        meant = [value - due for value, due in zip(sent, owed, strict=True)]
        given = Given(name, machine.incarnation, base, weight, meant, list(sent), owed, ["open"] * len(sent))
        table.checks.ledger.encoded(machine, given)
        machine.given[base] = given
        norms = tuple(1.0 + abs(value) / 100 for value in sent)
        state = b"".join(digest_of(value)[:8] for value in machine.state)
        parts = tuple(("part", digest_of(value), value) for value in sent)
        machine.take(Contribute(base, given.digests(), norms, weight, int(weight), state), parts)  # type: ignore[arg-type]

    machine.encode = encode  # type: ignore[method-assign]


def test_a_sender_that_stalls_costs_only_its_own_contribution() -> None:
    """It is Ready, and then none of its parts comes."""
    table = running(rounds=2)
    mute = host_of(table, 2)
    table.on(Part, 3, lambda machine, to, message: machine.name == mute)
    table.touch(0.0, 60.0, lambda a, b: mute in (a, b))
    start = table.now
    table.until_round(3)
    outcome = table.outcome(3)
    assert outcome.ballot.number == 0
    own = [span for span in outcome.spans if outcome.roster[span.reducer] == mute]
    others = [span for span in outcome.spans if outcome.roster[span.reducer] != mute]
    assert not any(span.void for span in outcome.spans)
    assert others
    assert all([span.has(index) for index in range(4)] == [name != mute for name in FOUR] for span in others)
    assert all(span.has(FOUR.index(mute)) for span in own), "to itself it did send"
    assert table.now - start < table.think + 1.5, "the others waited longer than twice the usual time"


def test_a_round_that_waited_for_nothing_makes_the_next_three_times_as_patient_at_most() -> None:
    """The host hears of no reducer but itself, and waits: that time says nothing about how fast the swarm is."""
    table = running(rounds=2)
    contexts = [table.machines[name].core.context for name in FOUR]
    before = max(context.patience(0) for context in contexts)
    table.on(Reduced, 3, lambda machine, to, message: True)
    table.touch(0.0, 600.0, lambda a, b: True)
    began = table.now
    table.until_round(3)
    assert table.counted("reassigned") == 1
    assert table.now - began > 1.4 * before, "it was to take longer than what is learnt from it"
    assert before < max(context.patience(0) for context in contexts) <= 3 * before + 1e-9
    table.until_round(4)
    assert max(context.patience(0) for context in contexts) == pytest.approx(before), "one good round forgets it"


def test_a_sender_that_stalls_half_way_counts_where_it_came() -> None:
    table = running(rounds=2)
    slow, first = host_of(table, 2), host_of(table, 0)
    table.on(Part, 3, lambda machine, to, message: machine.name == slow and to != first)
    table.touch(0.0, 60.0, lambda a, b: slow in (a, b))
    table.until_round(3)
    outcome = table.outcome(3)
    for span in outcome.spans:
        assert span.has(FOUR.index(slow)) == (outcome.roster[span.reducer] in (slow, first))


def test_a_wildly_scaled_span_is_refused_with_a_reason_and_the_others_are_taken() -> None:
    table = running(rounds=2)
    wild = host_of(table, 2)
    table.touch(0.0, 60.0, lambda a, b: wild in (a, b))
    gives(table, wild, [8, HUGE, 8, 8])
    table.until_round(4)
    outcome = table.outcome(4)
    assert [span.has(FOUR.index(wild)) for span in outcome.spans] == [True, False, True, True]
    assert table.counted("wild_part") >= 1
    assert all(abs(value) < HUGE for value in table.state("anna"))


def test_bytes_that_are_not_those_promised_are_refused_with_a_reason() -> None:
    """A part that does not belong to the root its sender signed."""
    table = running(rounds=2)
    liar = host_of(table, 2)
    table.liars.add(liar)
    table.touch(0.0, 60.0, lambda a, b: liar in (a, b))

    def other(machine: Machine, to: str, message: Message) -> bool:
        assert isinstance(message, Part)
        if machine.name == liar:
            foreign = Part(message.at, message.span, digest_of(HUGE), message.path)
            table.transmit(liar, to, table.forge(liar, foreign), ("part", digest_of(HUGE), HUGE))
        return machine.name == liar

    table.on(Part, 3, other)
    table.until_round(3)
    outcome = table.outcome(3)
    assert not any(span.has(FOUR.index(liar)) for span in outcome.spans if outcome.roster[span.reducer] != liar)
    assert table.counted("foreign_part") >= 3
    assert not any(digest_of(HUGE) in machine.stores["part"] for machine in table.machines.values())


def test_a_weight_beyond_the_cap_counts_as_much_as_all_the_others_together() -> None:
    """All give 0 but the one that claims a million samples: the mean is half of what it gave."""
    table = running(rounds=2)
    heavy = host_of(table, 2)
    for name in FOUR:
        gives(table, name, [800 if name == heavy else 0] * 4, 1e6 if name == heavy else 8.0)
    table.until_round(3)
    before = table.state("anna")
    number = table.machines["anna"].core.log.state.round
    table.until_round(number + 1)
    means = [after - 3 * old for old, after in zip(before, table.state("anna"), strict=True)]
    assert means == [400] * 4


@pytest.mark.parametrize("cap", [0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("weights", [[1.0], [5.0, 5.0], [1e15, 1.0, 1.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0, 400.0]])
def test_nobody_weighs_more_than_its_share_of_the_others(weights: list[float], cap: float) -> None:
    effective = effective_weights(weights, cap)
    for signed, counted in zip(weights, effective, strict=True):
        others = sum(weights) - signed
        assert 0 <= counted <= signed
        assert counted == signed or counted <= cap / (1 - cap) * others * (1 + 1e-9)
    givers = [weight for weight in weights if weight > 0]
    assert len(givers) > 1 or effective == weights, "who is the only one to give is the mean"
