"""How long `status LINK` waits for a swarm that is slow to answer."""

from __future__ import annotations

from typing import Any

import pytest

from peers.telling.glance import LEAST_SECONDS, Patience, _records
from peers.telling.status_view import run_lines
from swarm.errors import NetworkError


class SlowNetwork:
    """Its directory takes `seconds` of the clock's."""

    guard = None

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds, self.waited = clock, seconds, [0.0]

    def note_addresses(self, peer_id: str, addresses: object) -> None: ...

    def read(self, kind: str, seconds: float | None = None) -> list[Any]:
        assert seconds is not None
        self.waited.append(seconds)
        self.clock[0] += min(self.seconds, seconds)
        if self.seconds > seconds:
            raise NetworkError(f"the network gave no answer within {seconds:.0f} s")
        return []


def looked(seconds: float, patience_seconds: float = 5.0) -> tuple[Any, Patience, SlowNetwork]:
    clock = [100.0]
    patience, network = Patience(patience_seconds, lambda: clock[0]), SlowNetwork(clock, seconds)
    return _records(network, patience), patience, network  # type: ignore[arg-type]


def test_what_answers_in_time_is_told_and_nothing_is_silent() -> None:
    records, patience, network = looked(2.0)
    assert (records, patience.silent, network.waited[-1]) == ({}, [], 5.0)
    assert patience.left == pytest.approx(3.0)


def test_what_does_not_answer_in_time_is_named() -> None:
    records, patience, _ = looked(20.0)
    assert records is None
    assert patience.silent == ["the swarm's directory, in 5 s"]


def test_a_look_that_begins_late_gets_a_moment_still() -> None:
    records, _, network = looked(0.3, patience_seconds=-1.0)
    assert (records, network.waited[-1]) == ({}, LEAST_SECONDS)


def test_an_error_that_is_not_for_lateness_is_told() -> None:
    class Broken(SlowNetwork):
        def note_addresses(self, peer_id: str, addresses: object) -> None: ...

        def read(self, kind: str, seconds: float | None = None) -> list[Any]:
            raise NetworkError("the daemon is gone")

    with pytest.raises(NetworkError, match="gone"):
        _records(Broken([0.0], 0.0), Patience(5.0, lambda: 0.0))  # type: ignore[arg-type]


def test_the_volunteer_is_told_that_it_may_not_be_all() -> None:
    value = {
        "run": {"name": "tiny"},
        "verdict": {"words": "Looking for peers ..."},
        "step": 0,
        "steps": 40,
        "samples_per_second": None,  # nothing was seen
        "loss": {"p50": None},
        "seconds_to_end": None,
        "problems": [],
        "unanswered": ["the swarm's directory, in 5 s"],
    }
    assert "Step 0 of 40, speed not known" in run_lines(value)[0]
    assert run_lines(value)[1] == (
        "  Did not answer: the swarm's directory, in 5 s; so this may not be all. Ask again."
    )
