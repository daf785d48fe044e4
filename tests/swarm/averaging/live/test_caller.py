"""Who calls a round, and whom it takes for gone: an electorate that has died must not cost a ballot for each of it."""

from __future__ import annotations

from swarm.averaging.live.caller import REPEAT_SECONDS, Caller
from swarm.averaging.live.tally import FRESH_SECONDS, TELL_SECONDS, Told
from swarm.averaging.round.certificate import Position, Seat, host_of
from swarm.averaging.round.context import Context, Crypto, Self
from swarm.averaging.round.events import Due
from swarm.averaging.round.policy import Policy
from swarm.records import ProgressRecord
from swarm.run.schema import TrainingSpec

RECORD = ProgressRecord(step=9, state="training", role="trainer", version="1")
ELECTORATE = tuple(Seat(name, 1, True, 1.0) for name in ("dead", "gone", "told", "seen"))
POSITION = Position(bytes(32), bytes(32), 9, bytes(32), ELECTORATE)


def called(now: float = 100.0, heard: float = 100.0) -> Due:
    """By a newcomer that has the batch by itself; `told` is heard of by its tally, `seen` by its record."""
    caller = Caller("new", TrainingSpec(steps=100, global_batch=8), lambda: {"seen": RECORD, "other": RECORD}, 1)
    caller.tally.hear(heard, "told", Told(POSITION.head, 9, 0, 0, 0.0))
    caller.note(now, 9, 8)
    due = caller.due(now, POSITION, incarnation=2)
    assert due is not None
    return due


def test_of_the_electorate_only_those_are_absent_of_whom_nothing_is_heard() -> None:
    assert called().absent == ("dead", "gone")
    assert called(heard=100.0 - FRESH_SECONDS - 1).absent == ("dead", "gone", "told")


def test_the_first_ballot_of_a_fork_has_a_host_that_lives() -> None:
    policy = Policy()
    context = Context(bytes(32), Self("new", 2), policy, Crypto(lambda data: data, lambda *_: True))
    context.absent = {seat.peer for seat in ELECTORATE}
    for number in range(policy.fork_ballots):
        assert host_of(POSITION, policy, number, context.candidates(POSITION)) in POSITION.seats
    assert host_of(POSITION, policy, policy.fork_ballots, context.candidates(POSITION)) == "new"


def test_what_is_only_repeated_holds_up_no_news() -> None:
    """The last sample of a batch may be there a moment after everybody was told again that it is missing."""
    caller = Caller("new", TrainingSpec(steps=100, global_batch=8), dict, 1)

    def samples(now: float) -> int | None:
        told = caller.telling(now, POSITION)
        return None if told is None else told.samples

    caller.note(10.0, 9, 1)
    assert samples(10.0) == 1
    assert samples(10.0 + TELL_SECONDS) is None  # nothing new
    again = 10.0 + REPEAT_SECONDS
    assert samples(again) == 1
    caller.note(again + 0.01, 9, 8)
    assert samples(again + 0.01) == 8
    caller.note(again + 0.02, 9, 9)
    assert samples(again + 0.02) is None  # news come so fast that they are gathered
    assert samples(again + 0.02 + TELL_SECONDS) == 9
