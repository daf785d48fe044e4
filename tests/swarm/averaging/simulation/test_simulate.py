"""Seeded fault schedules over the real core violate nothing, replay exactly, and find a core that has a mistake."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from swarm.averaging import simulate
from swarm.averaging.round.messages import Vote
from swarm.averaging.simulation.faults import FAULTS, fault
from swarm.averaging.simulation.faults.registry import when_sent
from swarm.averaging.simulation.schedule import Result, run
from swarm.averaging.simulation.world import World
from tests.swarm.averaging.simulation.mutations import MUTATIONS

CORES, MINUTES = 2, 15  # what 10,000 schedules may take
KEYS = {"schedules", "violations", "committed_rounds", "voided_spans", "forks", "faults"}
WITHIN = {  # seeds among which a mistake must be found, about three times as many as it took; and the faults drawn
    "vote_before_holding": (range(25), ()),
    "quorum_minus_one": (range(40), ()),
    "ignored_promises": (range(10), ()),
    "residual_adopted_early": (range(1), ()),
    "forgotten_incarnation": (range(10), ("crash_many", "forgotten_vote", "crash_host")),
    "same_incarnation": (range(10), ("crash_many", "forgotten_vote", "crash_host")),
    "vote_not_binding": (range(30), ("lonely_commit",)),
    "proposal_by_digest": (range(6), ("two_proposals", "crash_host")),
    "foreign_residual": (range(6), ("late_reducer",)),
    "short_history": (range(1), ()),
    "weights_ignored": (range(1), ()),
    "endless_patience": (range(3), ("late_host",)),
    "dead_seats_awaited": (range(100, 120), ("crash_host", "crash_many", "crash_reducer", "crash_member")),
    "one_gone_all_given_up": (range(6), ("goodbyes",)),
    "early_fork": (range(40), ()),
    "parts_known_by_their_bytes": (range(16), ()),
}


def command(*args: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "swarm.averaging.simulate", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


def summary_of(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary.keys() >= KEYS
    assert summary["violations"] == 0
    assert summary["committed_rounds"] >= 4 * summary["schedules"]
    assert set(summary["faults"]) == set(FAULTS), "some kind of fault never happened"
    assert summary["liveness_checked"] > summary["schedules"] / 2, "the bound on a round's time is hardly ever demanded"
    return summary


@pytest.mark.timeout(300)
def test_hundreds_of_schedules_violate_nothing() -> None:
    done = command("--schedules", "200", "--peers", "7", "--seed", "1")
    assert summary_of(done)["schedules"] == 200


@pytest.mark.slow
@pytest.mark.timeout(1700)
def test_ten_thousand_schedules_violate_nothing_in_fifteen_minutes_on_two_cores() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = command("--schedules", "10000", "--peers", "3-12", "--seed", "1000000")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert summary_of(done)["schedules"] == 10_000
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < CORES * MINUTES * 60, f"{spent:.0f} s of processor time"


def test_every_schedule_has_four_rounds_and_a_fault() -> None:
    for seed in range(500, 512):
        result = run(seed, peers=(3, 12))
        assert result.violations == []
        assert result.committed_rounds >= 4
        assert sum(result.faults.values()) >= 1


THEN = tuple(kind for kind in FAULTS if kind != "goodbyes")  # what schedules drew from when these were found
ONCE_FOUND = [
    *(((3, 3), seed, THEN) for seed in (565, 134)),
    *(((7, 7), seed, THEN) for seed in (7678, 8898, 9166)),
    ((3, 12), 1001526, THEN),
    ((3, 12), 1001500, ()),
    ((2, 7), 190, ()),
    *(((7, 7), seed, ()) for seed in (1184, 2088)),
]


@pytest.mark.parametrize(("peers", "seed", "kinds"), ONCE_FOUND)
def test_what_was_found_once_is_not_found_again(peers: tuple[int, int], seed: int, kinds: tuple[str, ...]) -> None:
    """565: the only voter died as it sent the commit, and came back without the means, unlike a real peer.
    134: the only peer that gave anything was slow, and its reducer was blamed. 7678: the observer did not know of a
    mean that nobody has. 9166: voters that had died and come back were waited for. 8898: so they were, and a peer that
    had left was to host a fork. 1001526: a host with a short last round gave up on reducers whose own had been long.
    1001500: the only voter was slow to read its own means when it started, and took itself for too far behind, unlike a
    real peer. 190: the only voter left for good, and took the last means with it. 1184: who came back to its lineage
    let go of new means whose bytes old rounds had named too. 2088: a round that had waited long for a liar made the
    next one six times as patient."""
    assert run(seed, peers=peers, kinds=kinds).violations == []


def test_a_seed_replays_exactly_in_another_process() -> None:
    """Message by message: nothing depends on hashes, clocks, or on what ran before."""
    run(1)
    args = ("--peers", "3-12", "--replay", "77", "-v")
    first, second = command(*args, hash_seed="1"), command(*args, hash_seed="2")
    assert first.returncode == 0
    assert len(first.stdout.splitlines()) > 200
    assert first.stdout == second.stdout


def test_a_schedule_runs_the_same_after_another_one() -> None:
    first = run(5)
    run(6)
    assert run(5) == first


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_core_with_a_mistake_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, kinds = WITHIN[name]
    MUTATIONS[name](monkeypatch)
    found: Result | None = None
    for seed in seeds:
        result = run(seed, kinds=kinds)
        if result.violations:
            found = result
            break
    assert found is not None, f"{len(seeds)} schedules did not notice {name}"
    assert run(found.seed, kinds=kinds).violations == found.violations, "what was found does not replay"


def test_a_violation_is_told_with_its_seed_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MUTATIONS["residual_adopted_early"](monkeypatch)
    assert simulate.main(["--peers", "4", "--replay", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 3: ")
    assert "adopts a residual" in lines[0]
    assert "  again: python -m swarm.averaging.simulate --peers 4-4 --replay 3 -v" in lines
    assert json.loads(lines[-1])["violations"] == 1


def test_a_fault_of_ones_own_is_one_function() -> None:
    @fault
    def silent_voter(world: World) -> None:
        """A peer's votes are lost for good, in one round."""

        def lose(machine: object, to: str, envelope: object) -> bool:
            world.faults["silent_voter"] += 1
            world.touch(world.now, world.now + 3.0, lambda a, b: machine.name in (a, b))  # type: ignore[attr-defined]
            return True

        when_sent(world, (Vote,), lose)

    try:
        results = [run(seed, kinds=("silent_voter",)) for seed in range(5)]
    finally:
        del FAULTS["silent_voter"]
    assert [result.violations for result in results] == [[]] * 5
    assert all(result.faults["silent_voter"] == 1 for result in results)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--peers", "1"], "between 2 and 64 peers"),
        (["--peers", "9-3"], "the smaller number first"),
        (["--peers", "many"], "neither a number of peers nor a range"),
        (["--faults", "gremlins"], "no fault is called gremlins; there are "),
    ],
)
def test_wrong_arguments_are_told_in_words(args: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        simulate.main(args)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
