"""A wrong clock is said once, with what to type, and once when it is right again."""

from __future__ import annotations

from peers.checks.clock import SET_CLOCK, ClockWatch, fault


def test_only_what_the_dht_would_turn_away_is_wrong() -> None:
    assert fault(None) is None
    assert fault(2.9) is None
    assert fault(-2.9) is None
    assert fault(20.2) == f"this machine's clock is 20 s ahead of the others'; set it: {SET_CLOCK}"
    assert str(fault(-7200.0)).startswith("this machine's clock is 7200 s behind the others'")


def test_it_is_said_once_each_way() -> None:
    said: list[str] = []
    watch = ClockWatch(said.append)
    for skew in (None, 0.1, 20.0, 21.0, None, 22.0, 0.2, 0.1):
        watch.look(skew)
    assert len(said) == 2
    assert said[0].startswith("This machine's clock is 20 s ahead")
    assert said[1] == "This machine's clock is right again."
