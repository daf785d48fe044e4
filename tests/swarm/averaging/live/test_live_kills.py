"""Peers as processes of their own are ended by SIGKILL in the middle of a round; the others finish it, or go on."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.swarm.averaging.live.mortal import MOMENTS, Options
from tests.swarm.averaging.live.parting import part

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]
ROUND = 4  # in which somebody dies
MORE = 3  # rounds that must follow
BOUND_SECONDS = 30.0  # several times what the patience of a ballot adds up to on a busy machine


class Peers:
    """Processes by name, and what they have written."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, name: int, seeds: list[str]) -> None:
        options = replace(self.options, name=name, seeds=seeds)
        said = (Path(options.folder) / f"{name}.log").open("ab")
        with said:
            self.processes[name] = subprocess.Popen(options.arguments(), stderr=said)

    def again(self, name: int) -> None:
        """The process that was killed, started again."""
        self.options = replace(self.options, moment="")
        self.start(name, self.addresses([other for other in self.living() if other != name]))

    def addresses(self, names: list[int]) -> list[str]:
        return [address for name in names for address in self.last(name, "addresses")]

    def last(self, name: int, key: str) -> Any:
        return [line[key] for line in self.lines(name) if key in line][-1]

    def said(self, name: int) -> str:
        """What this peer told its user."""
        return (Path(self.options.folder) / f"{name}.log").read_text()

    def lines(self, name: int) -> list[dict[str, Any]]:
        place = replace(self.options, name=name).journal
        text = place.read_text() if place.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def steps(self, name: int) -> dict[int, dict[str, Any]]:
        """By step, the last line of each: rounds of a lineage that was left may be done anew."""
        return {line["step"]: line for line in self.lines(name) if "step" in line}

    def step(self, name: int) -> int:
        return max(self.steps(name), default=0)

    def living(self) -> list[int]:
        return [name for name, process in self.processes.items() if process.poll() is None]

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not condition():
            told = {name: self.lines(name)[-2:] for name in self.processes}
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s: {told}"
            pause.wait(0.05)


@contextmanager
def peers(folder: Path, count: int, **options: Any) -> Iterator[Peers]:
    (folder / "alive").mkdir()
    (folder / "states").mkdir()
    group = Peers(Options(0, str(folder), count, **options))
    try:
        group.start(0, [])
        group.wait(lambda: group.lines(0), 60, "the first peer")
        seeds = group.lines(0)[0]["addresses"]
        for name in range(1, count):
            group.start(name, seeds)
        yield group
    finally:
        for process in group.processes.values():
            process.kill()
            process.wait(10)


def same(group: Peers, names: list[int], start: int) -> None:
    """From `start` on, these peers hold the same bytes after every step that they share."""
    steps = [group.steps(name) for name in names]
    shared = set.intersection(*map(set, steps))
    assert {step for step in shared if step >= start}
    for step in shared:
        assert len({told[step]["digest"] for told in steps}) == 1, f"step {step} differs"


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_round_ends_when_somebody_dies_in_it(tmp_path: Path, moment: str) -> None:
    with peers(tmp_path, 4, moment=moment, round=ROUND) as group:
        group.wait(lambda: len(group.living()) == 3, 90, "a death")
        died = time.monotonic()
        assert [p.returncode for p in group.processes.values() if p.returncode is not None] == [-signal.SIGKILL]
        rest = group.living()
        group.wait(lambda: all(group.step(name) >= ROUND for name in rest), BOUND_SECONDS, "the round it died in")
        group.wait(lambda: all(group.step(name) >= ROUND + MORE for name in rest), 60, "rounds after it")
        assert all(group.steps(name)[ROUND]["at"] - died < BOUND_SECONDS for name in rest)
        same(group, rest, ROUND + MORE)
        lineages = {group.steps(name)[step]["lineage"] for name in rest for step in range(1, ROUND + MORE + 1)}
        assert len(lineages) == 1, "three of four are a quorum: nobody forks"
        assert not [line for name in rest for line in group.lines(name) if "missed" in line]
        last = group.steps(rest[0])[ROUND + MORE]
        assert len(last["members"]) == 3
        assert last["void"] == 0


def test_two_of_four_die_the_others_say_so_go_on_as_a_fork_and_take_them_back(tmp_path: Path) -> None:
    with peers(tmp_path, 4) as group:
        group.wait(lambda: all(group.step(name) >= ROUND for name in range(4)), 90, "four peers in step")
        for name in (1, 3):
            group.processes[name].kill()
        for name in (1, 3):
            group.processes[name].wait(10)
        reached = max(group.step(name) for name in range(4))
        group.wait(lambda: all(group.step(name) >= reached + MORE for name in (0, 2)), 90, "the survivors' rounds")
        same(group, [0, 2], reached + MORE)
        before, after = (group.steps(0)[step]["lineage"] for step in (ROUND, reached + MORE))
        assert before != after, "half of the electorate is no quorum: only as another lineage may they go on"
        assert len(group.steps(2)[reached + MORE]["members"]) == 2
        for name in (0, 2):
            assert "no quorum answered; going on as lineage" in group.said(name)
        for name in (1, 3):
            group.again(name)
        healed(group, range(4))


def test_parted_three_go_on_two_wait_and_fork_and_all_heal(tmp_path: Path) -> None:
    """Three of five are a quorum: their lineage stays. What the two did alone meanwhile is given up."""
    with peers(tmp_path, 5) as group:
        group.wait(lambda: all(group.step(name) >= ROUND for name in range(5)), 120, "five peers in step")
        lineage = group.last(0, "lineage")
        many, few = [0, 1, 2], [3, 4]
        part(tmp_path / "sides", *[[group.last(name, "peer") for name in side] for side in (many, few)])
        parted = max(group.step(name) for name in range(5))
        group.wait(lambda: all(group.step(name) >= parted + MORE for name in many), 60, "rounds of the majority")
        assert {group.last(name, "lineage") for name in many} == {lineage}
        group.wait(lambda: all(group.last(name, "lineage") != lineage for name in few), 90, "the minority's fork")
        assert all("no quorum answered; going on as lineage" in group.said(name) for name in few)
        assert {group.last(name, "lineage") for name in many} == {lineage}, "nobody forks with a majority"
        part(tmp_path / "sides")
        healed(group, range(5))
        assert {group.last(name, "lineage") for name in range(5)} == {lineage}
        assert all(group.last(name, "lost") > 0 for name in few)


def healed(group: Peers, names: Iterable[int]) -> None:
    """All train together again, in one lineage, with the same bytes."""
    names = list(names)

    def together() -> bool:
        shared = set.intersection(*[set(group.steps(name)) for name in names])
        newest = [group.steps(name)[max(shared)] for name in names] if shared else []
        whole = all(len(line["members"]) == len(names) for line in newest)
        return bool(newest) and whole and len({(line["digest"], line["lineage"]) for line in newest}) == 1

    group.wait(together, 120, "one swarm")


def test_of_a_round_whose_bytes_did_not_reach_the_disk_only_that_round_is_lost(tmp_path: Path) -> None:
    with peers(tmp_path, 1) as group:
        group.wait(lambda: group.step(0) >= ROUND, 90, "some rounds")
        group.processes[0].kill()
        group.processes[0].wait(10)
        before = group.steps(0)
        newest = max((tmp_path / "0" / "means").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        newest.unlink()
        group.again(0)
        group.wait(lambda: group.last(0, "replayed") in (max(before) - 1, max(before)), 60, "all rounds but one")
        replayed = group.last(0, "replayed")
        group.wait(lambda: group.step(0) >= replayed + 2, 60, "rounds after it")
        after = group.steps(0)
        assert all(after[step]["digest"] == before[step]["digest"] for step in range(1, replayed + 1))


def test_what_a_peer_certified_alone_survives_it(tmp_path: Path) -> None:
    """Nobody else is bound to hold those bytes: they are on its disk before word of the certificate leaves it."""
    with peers(tmp_path, 1, moment="a peer that has certified a round alone", round=ROUND + 1) as group:
        group.wait(lambda: not group.living(), 90, "a death")
        assert group.processes[0].returncode == -signal.SIGKILL
        before = group.steps(0)
        assert max(before) <= ROUND
        (tmp_path / "died").unlink()
        group.again(0)
        group.wait(lambda: group.last(0, "replayed") == ROUND, 60, "the round that nobody had heard of")
        group.wait(lambda: group.step(0) >= ROUND + 1, 60, "a round after it")
        assert all(group.steps(0)[step]["digest"] == line["digest"] for step, line in before.items())
