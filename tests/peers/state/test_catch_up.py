"""Which state a peer takes that cannot follow the swarm, and what it says while nobody gives it one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peers.state.catch_up import LONGEST_SECONDS, RoundCatchUp
from peers.state.certified import StateFetcher
from swarm.averaging.averager import Missed
from swarm.averaging.live.lag import LATE_SECONDS, QUIET_SECONDS, Lag
from swarm.averaging.live.positions import CertifiedState
from swarm.averaging.live.tally import Tally, Told
from swarm.errors import NetworkError, ResourceError
from tests.peers import state_swarm as tools

BEHIND = Missed(0, "behind: the swarm is further", behind=True)


class Nobody:
    """A network in which every donor is silent."""

    peer_id = "me"

    def run(self, work: Any, timeout_seconds: float | None = None) -> Any:
        return asyncio.run(work)

    def reject(self, reason: str) -> None: ...


class Log(tools.Certified):
    """Of a run at `tip` whose checkpoints are certified, that of its beginning too; means of 16 rounds are kept."""

    def __init__(self, run: Any, tip: int) -> None:
        super().__init__(run)
        self.tip = tip

    def wanted(self) -> list[CertifiedState]:
        newest = self.tip - self.tip % tools.EVERY
        return [CertifiedState(bytes([step % 251]) * 32, step, bytes(32)) for step in range(newest, -1, -tools.EVERY)]

    def oldest(self) -> int:
        return self.tip - 16


@pytest.mark.parametrize(("tip", "begins"), [(9, True), (16, True), (17, False), (340, False)])
def test_the_beginning_is_taken_only_where_the_swarm_can_be_followed_from_it(
    tip: int, begins: bool, tmp_path: Path
) -> None:
    """Else a newcomer whose donors are silent for a moment would begin there, and fall behind again, for ever."""
    run = tools.signed_run().manifest
    network: Any = Nobody()
    taker = StateFetcher(network, run, Log(run, tip), tmp_path, watch=tools.Watched())
    state, start = tools.some_state(run, step=3), tools.some_state(run, step=0, seed=1)
    before = state.digest()
    if begins:
        assert taker.fetch([], state, lambda: start) == bytes(32), "the head of the beginning"
        assert state.digest() == start.digest()
        return
    with pytest.raises(NetworkError, match=f"step {tip - tip % tools.EVERY}: nobody has it"):
        taker.fetch([], state, lambda: start)
    assert state.digest() == before, "untouched"


def test_a_state_that_nobody_could_follow_from_is_not_even_asked_for(tmp_path: Path) -> None:
    run = tools.signed_run().manifest
    network: Any = Nobody()
    log = Log(run, 8)
    log.oldest = lambda: 20  # type: ignore[method-assign]
    taker = StateFetcher(network, run, log, tmp_path, watch=tools.Watched())
    with pytest.raises(NetworkError, match="step 8, too old to follow the swarm from"):
        taker.fetch([], tools.some_state(run), lambda: tools.some_state(run))


# --- is the log known to its end? ------------------------------------------------------------------------------------


def of_log(round: int, tip: int | None, told: int | None, grown_at: float) -> tuple[Any, Tally]:
    """A newcomer's log, which goes to `round` and whose teller says that its own goes to `tip`; and what peers tell."""
    tally = Tally()
    if told is not None:
        tally.hear(grown_at, "other", Told(bytes(32), told, 0, 4, 1.0))
    commit = SimpleNamespace(tip=tip) if tip is not None else None
    position = SimpleNamespace(round=round)
    return SimpleNamespace(chain=[SimpleNamespace(commit=commit, position=position)], tip=position), tally


@pytest.mark.parametrize(
    ("round", "tip", "told", "seconds"),
    [
        (340, 340, None, 0.0),  # whoever told it has no more
        (16, 340, None, LATE_SECONDS),  # the next page is on its way, on a busy machine for seconds
        (16, 2**53 - 1, None, LATE_SECONDS),  # a liar delays so long, and no longer
        (0, None, 340, LATE_SECONDS),  # nothing has come yet, most are further
        (0, None, None, QUIET_SECONDS),  # nobody says anything
        (339, 341, 340, QUIET_SECONDS),  # a swarm that is never quiet
    ],
)
def test_a_newcomer_waits_for_the_rest_of_the_log_that_it_is_told_of(
    round: int, tip: int | None, told: int | None, seconds: float
) -> None:
    log, tally = of_log(round, tip, told, grown_at=100.0)
    lag = Lag(grown_at=100.0)
    lag.falls(100.0, "behind")
    assert lag.news(100.0 + seconds + 0.01, log, tally) == "behind"
    assert not seconds or lag.news(100.0 + seconds - 0.01, log, tally) is None


# --- what is said ----------------------------------------------------------------------------------------------------


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.states: list[str] = []
        self.progress = SimpleNamespace(records=lambda: dict.fromkeys(("a", "me"), SimpleNamespace(role="trainer")))

    def state(self, name: str) -> None:
        self.states.append(name)

    def note(self, words: str) -> None:
        self.said.append(words)

    def lacks_state(self, asked: int) -> None:
        self.states.append(f"lacks, of {asked}")

    def download(self, completed: bool) -> None: ...


class Failing:
    """A fetcher to which these happen, one after another; then it takes the state of step 8."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.averager = SimpleNamespace(restored=lambda head: True)
        self.network = SimpleNamespace(peer_id="me")

    def fetch(self, donors: Any, state: Any, initial: Any) -> bytes:
        if self.errors:
            raise self.errors.pop(0)
        state.step = 8
        return bytes(32)


def test_each_cause_is_said_once_and_it_is_asked_for_ever_less_often() -> None:
    told, pauses = Heard(), []
    refused, gone = NetworkError("so much was given already"), NetworkError("nobody has it")
    fetcher: Any = Failing(*[refused] * 5, gone)
    state: Any = SimpleNamespace(step=0)
    reporter: Any = told
    catch_up = RoundCatchUp(fetcher, state, reporter, initial=lambda: state, pause=pauses.append)
    turns = [catch_up(BEHIND) for _ in range(7)]
    assert turns == [False] * 6 + [True]
    assert pauses == [1.0, 2.0, 4.0, 8.0, LONGEST_SECONDS, LONGEST_SECONDS]
    assert [words.rpartition(": ")[2] for words in told.said[:2]] == [str(refused), str(gone)]
    assert told.said[2:] == ["Took the state of step 8; following the swarm from there."]
    assert told.states == ["downloading", "lacks, of 1"] * 6 + ["downloading", "training"]


def test_what_trying_again_does_not_mend_is_not_tried_again() -> None:
    told, state = Heard(), SimpleNamespace(step=0)
    fetcher: Any = Failing(ResourceError("the disk is full"))
    reporter: Any = told
    catch_up = RoundCatchUp(fetcher, state, reporter, initial=lambda: state, pause=lambda seconds: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ResourceError):
        catch_up(BEHIND)
    assert told.states == ["downloading", "training"]
