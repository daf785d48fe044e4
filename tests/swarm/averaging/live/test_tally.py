"""When the batch is full: by what peers told, and never by what they might have done since."""

from __future__ import annotations

import pytest

from swarm.averaging.live.tally import TELL_SECONDS, WAIT_SHARE, Pace, Tally, Told, worth_waiting

BASE = bytes(32)


def test_a_micro_batch_under_way_counts_and_a_silent_peer_is_not_believed_to_go_on() -> None:
    told = Told(BASE, 3, samples=8, micro=4, rate=20.0)
    assert told.expected(0.0) == 12
    assert told.expected(TELL_SECONDS) == 16, "0.2 s at 20 a second is one micro-batch more"
    assert told.expected(10.0) == told.expected(TELL_SECONDS)
    assert Told(BASE, 3, samples=0, micro=0, rate=20.0).expected(10.0) == 0


def test_samples_add_up_over_peers_on_the_same_base_and_none_counts_for_more_than_the_batch() -> None:
    tally = Tally()
    tally.hear(0.0, "a", Told(BASE, 3, 8, 4, 0.0))
    tally.hear(0.0, "b", Told(BASE, 3, 10**6, 4, 0.0))
    tally.hear(0.0, "c", Told(bytes([1] * 32), 4, 8, 4, 0.0))
    assert tally.samples(0.1, BASE, cap=48) == 12 + 48
    assert tally.ahead(0.1, 3)
    assert tally.mostly_at(0.1, 3), "one round further is where everybody is in a moment"
    assert not tally.mostly_at(0.1, 1), "they are two rounds further than that"
    assert tally.samples(100.0, BASE, cap=48) == 0, "who has told nothing for long is not counted"


def test_a_slow_peer_is_waited_for_to_the_end_of_its_micro_batch_where_its_samples_are_worth_it() -> None:
    fast, slow = Told(BASE, 3, 400, 4, 20.0), Told(BASE, 3, 100, 4, 5.0, age=0.1)
    assert slow.left(0.1) == pytest.approx(0.6), "4 samples at 5 a second, of which 0.2 s are over"
    assert worth_waiting([(0.1, fast), (0.1, slow)], 500) == pytest.approx(0.6)
    few = Told(BASE, 3, 8, 4, 5.0)
    assert worth_waiting([(0.1, fast), (0.1, few)], 500) == pytest.approx(0.1), "8 samples are what all do in 0.32 s"
    long = Told(BASE, 3, 400, 400, 20.0)
    assert worth_waiting([(0.0, fast), (0.0, long)], 500) < WAIT_SHARE * 500 / 40, (
        "nor longer than a tenth of the batch"
    )
    assert worth_waiting([(0.0, Told(BASE, 3, 2**31 - 1, 2**31 - 1, 1.0)), (0.0, fast)], 500) == pytest.approx(0.2)
    assert worth_waiting([], 500) == worth_waiting([(0.0, Told(BASE, 3, 8, 0, 0.0))], 500) == 0.0


def test_a_pace_is_measured_at_micro_batches_and_starts_anew_with_each_step() -> None:
    pace = Pace()
    for number in range(5):
        pace.note(0.5 * number, 7, 4 * number)
    told = pace.told(2.0, BASE, 7)
    assert (told.samples, told.micro) == (16, 4)
    assert told.rate == pytest.approx(8.0)
    assert pace.told(2.0, BASE, 8).samples == 0


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"x" * 200, bytes([0x96]) + bytes(6)])
def test_malformed_words_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a tally"):
        Told.from_bytes(data)
    told = Told(BASE, 3, 8, 4, 2.0, 0.5)
    assert Told.from_bytes(told.to_bytes()) == told
