"""A run that has ended, met by newcomers: they are told so, and have its final checkpoint where somebody keeps it."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.demo.follow import Followed
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import LOOPBACK, RealSwarm, make_run, step_of, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(320)]
STEPS = 10
FINAL = f"step-{STEPS:08d}"


def ended_swarm(swarm: RealSwarm, *others: Followed) -> Followed:
    """Two peers train to the run's end; the first of them."""
    a, b = swarm.join("a", "--wait-for", "2"), swarm.join("b", "--wait-for", "2")
    wait_for(lambda: "finished" in a.latest and "finished" in b.latest, 150, "the run's end", a, b, *others)
    assert (a.process.wait(20), b.process.wait(20)) == (0, 0)
    return a


def came_late(swarm: RealSwarm, name: str, state: str) -> None:
    """A newcomer that has the final checkpoint within seconds, without any text."""
    late = swarm.take_part("join", name, "--wait-for", "2", "--cache", str(swarm.folder / f"{name}-cache"))
    assert late.process.wait(60) == 0, late.last_words()
    late.reader.join(5)
    assert swarm.states(name)[FINAL] == state
    assert swarm.newest(name).state.step == STEPS
    said = late.latest["finished"]
    assert f"Reached step {STEPS}" in said["words"]
    assert "had ended before this peer came" in said["words"]
    assert (said["samples"], late.latest["joined"]["step"]) == (0, 0)
    assert not (swarm.folder / f"{name}-cache").exists(), "no text is read"


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSwarm]:
    """A run that has ended, and its seed, which has been started again since: what it knows is kept."""
    folder = tmp_path_factory.mktemp("over")
    with swarm_of(folder, make_run(folder, steps=STEPS, batch=32)) as swarm:
        seed = swarm.seed()
        ended_swarm(swarm, seed)
        wait_for(lambda: "ended" in seed.latest, 30, "the seed has noticed", seed)
        stop(seed)
        swarm.seed()
        yield swarm


def stop(peer: Followed) -> None:
    peer.process.send_signal(signal.SIGTERM)
    assert peer.process.wait(20) == 0


def test_who_comes_then_is_told_and_does_not_begin_again_alone(over: RealSwarm) -> None:
    place = ("--yes", "--dir", str(over.folder / "late"), *LOOPBACK)
    line = assert_one_line(run("join", over.link, *place), 14)
    assert f"ended at step {STEPS}" in line
    assert "ask its owner" in line
    assert {path.name for path in (over.folder / "late").iterdir()} <= {"identity.pem", "events.jsonl"}, "nothing came"
    assert "nothing left to average" in assert_one_line(run("assist", over.link, *place), 14)


def test_doctor_status_and_monitor_know_it(over: RealSwarm) -> None:
    told = run("doctor", over.link, "--json", "--dir", str(over.folder / "late"))
    assert told.returncode == 12, told.stderr
    found = {each["name"]: each for each in json.loads(told.stdout)["findings"]}
    assert found["run"]["verdict"] == "fail"
    assert f"ended at step {STEPS}" in found["run"]["words"]
    assert looked_at(run("status", over.link, "--json").stdout) == (True, STEPS, [])
    place = ("--port", "0", "--no-probe", "--json", "--dir", str(over.folder / "monitor"))
    monitor = over.start("monitor", "monitor", over.link, *place)
    url = monitor.wait_for("monitor", 90, lambda: monitor.ended)["url"]
    wait_for(lambda: looked_at(page(url)) == (True, STEPS, []), 60, "the monitor knows", monitor)
    stop(monitor)


def test_who_took_part_is_told_where_its_final_checkpoint_is(over: RealSwarm) -> None:
    again = run("join", over.link, "--yes", "--dir", str(over.folder / "a"), *LOOPBACK)
    assert again.returncode == 0, again.stderr
    assert f"its final checkpoint is here: {over.folder / 'a' / 'checkpoints' / FINAL}" in again.stdout


def test_a_seed_gives_the_final_state_that_its_owner_vouches_for(over: RealSwarm) -> None:
    stop([one for one in over.started if one.name == "seed"][-1])
    over.seed("--from", str(over.folder / "a" / "checkpoints" / FINAL))
    came_late(over, "late", over.states("a")[FINAL])


def page(url: str) -> str:
    with urllib.request.urlopen(f"{url.rstrip('/')}/api/v1/swarm", timeout=5) as answer:
        return str(answer.read().decode())


def looked_at(text: str) -> tuple[Any, ...]:
    told = json.loads(text)
    return told["finished"], told["step"], told["problems"]


def test_an_archive_stays_after_the_end_and_gives_the_final_state(tmp_path: Path) -> None:
    with swarm_of(tmp_path, make_run(tmp_path, steps=STEPS, batch=64)) as swarm:
        seed = swarm.seed()
        archive = swarm.take_part("archive", "archive")
        ended_swarm(swarm, seed, archive)
        wait_for(lambda: "ended" in archive.latest and "ended" in seed.latest, 30, "both know", seed, archive)
        assert step_of(archive) == STEPS
        state = swarm.states("a")[FINAL]
        assert swarm.states("archive")[FINAL] == state
        came_late(swarm, "late", state)
        archive.process.send_signal(signal.SIGTERM)
        assert archive.process.wait(10) == 0
        again = swarm.take_part("archive", "archive")
        again.wait_for("ended", 60, lambda: again.ended)
        seed.process.kill()
        came_late(RealSwarmAt(swarm, again.latest["archiving"]["link"]), "later", state)


def test_who_the_end_has_passed_by_is_told_and_leaves(tmp_path: Path) -> None:
    """An assistant that stood still while the run ended: nobody is left who could call it to a round."""
    with swarm_of(tmp_path, make_run(tmp_path, steps=STEPS, batch=64)) as swarm:
        seed = swarm.seed()
        helper = swarm.take_part("assist", "helper")
        helper.wait_for("joined", 60, lambda: helper.ended)
        helper.process.send_signal(signal.SIGSTOP)
        ended_swarm(swarm, seed)
        wait_for(lambda: "ended" in seed.latest, 30, "the seed has noticed", seed)
        helper.process.send_signal(signal.SIGCONT)
        assert helper.process.wait(90) == 14
        helper.reader.join(5)
        assert f"ended at step {STEPS} while this peer was still at step 0" in helper.last_words()


class RealSwarmAt(RealSwarm):
    """The same swarm by another link."""

    def __init__(self, swarm: RealSwarm, link: str) -> None:
        super().__init__(swarm.folder, swarm.run)
        self.started, self.link = swarm.started, link
