"""A machine or a link in trouble, in a real swarm: a disk that is full, a clock that is wrong, a link that pins another
history. Each is told in one line, and no other peer minds.

One swarm for all tests; `a` stays from the first to the last.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from peers.demo.follow import Followed
from swarm.run.link import Link, parse
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import LOOPBACK, RealSwarm, in_rounds_of, step_of, wait_for
from tests.small_disk import small_disk

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
CLOCK = "tests.peers.wrong_clock"


@pytest.fixture(scope="module")
def a(swarm: RealSwarm) -> Followed:
    peer = swarm.join("a")
    wait_for(lambda: step_of(peer) >= 9 and bool(swarm.states("a")), 120, "the first peer trains", peer)
    return peer


def test_so_many_steps_are_those_that_it_took_part_in(swarm: RealSwarm, a: Followed) -> None:
    """Not the swarm's step: a guest that comes at step 1,000 for three steps gives three."""
    guest = swarm.join("guest", "--steps", "3")
    assert guest.process.wait(120) == 0, guest.last_words()
    guest.reader.join(5)
    assert sum(bool(step.get("included")) for step in guest.steps) >= 2, guest.steps
    assert guest.latest["finished"]["samples"] > 0
    assert step_of(guest) > 3


# --- links that pin --------------------------------------------------------------------------------------------------


def test_a_link_that_pins_the_swarms_history_is_joined_by(swarm: RealSwarm, a: Followed) -> None:
    name, root = max(swarm.states("a").items())
    pinned = swarm.join("pinned", link=str(pin(swarm, int(name[5:]), root)))
    wait_for(lambda: in_rounds_of(pinned, 2), 90, "rounds of two", a, pinned)
    pinned.process.terminate()
    assert pinned.process.wait(10) == 130


def test_a_link_that_pins_another_history_is_refused(swarm: RealSwarm, a: Followed) -> None:
    step = int(max(swarm.states("a"))[5:])
    link = str(pin(swarm, step, "ab" * 32))
    said = run("join", link, "--yes", "--dir", str(swarm.folder / "elsewhere"), *LOOPBACK)
    line = assert_one_line(said, 5)
    assert f"round {step}" in line
    assert "another history" in line
    assert "branch" not in said.stdout, "forks of before are none of this peer's"
    again = run("join", swarm.link, "--yes", "--dir", str(swarm.folder / "elsewhere"), *LOOPBACK)
    assert "another history" in assert_one_line(again, 5), "the pin counts for this folder from then on"
    assert in_rounds_of(a, 1), "the swarm does not mind"


def pin(swarm: RealSwarm, step: int, root: str) -> Link:
    link = parse(swarm.link)
    return Link(link.digest, link.peers, at=(step, root))


# --- a full disk -----------------------------------------------------------------------------------------------------


def test_a_disk_that_the_state_does_not_fit_on_is_one_line_before_anything_is_fetched(
    swarm: RealSwarm, a: Followed
) -> None:
    with small_disk(swarm.folder / "tiny", 192 << 10) as place:
        said = run("join", swarm.link, "--yes", "--dir", str(place), "--cache", str(swarm.folder / "cache"), *LOOPBACK)
        assert (said.returncode, "Traceback" in said.stderr) == (10, False), said.stderr
        *before, line = said.stderr.strip().splitlines()
        assert all("log of rounds" in complaint for complaint in before), "the log, too, says once that it has no room"
        assert "the disk is full" in line
        assert "free some space" in line
    assert in_rounds_of(a, 1), "the swarm does not mind"


def test_a_disk_that_becomes_full_stops_no_training(swarm: RealSwarm, a: Followed) -> None:
    with small_disk(swarm.folder / "little", 2 << 20) as place:
        peer = swarm.take_part("join", "little", "--threads", "1", "--cache", str(swarm.folder / "cache"))
        wait_for(lambda: in_rounds_of(peer, 2), 90, "rounds of two", a, peer)
        (place / "ballast").write_bytes(bytes(free(place)))
        noted = [False]
        events = swarm.folder / "logs"

        def told() -> bool:
            noted[0] = noted[0] or "disk is full" in peer.latest.get("note", {}).get("words", "")
            return noted[0]

        wait_for(told, 60, "it says that no checkpoint can be written", a, peer)
        began = step_of(peer)
        wait_for(lambda: step_of(peer) > began + 5 and in_rounds_of(peer, 2), 60, "it trains on", a, peer)
        (place / "ballast").unlink()
        before = set(swarm.states("little"))
        wait_for(lambda: bool(set(swarm.states("little")) - before), 60, "a checkpoint once there is room", peer)
        (place / "ballast").write_bytes(bytes(free(place)))
        peer.process.terminate()
        assert peer.process.wait(10) == 130, (peer.last_words(), events)
        assert "Traceback" not in peer.log.read_text(encoding="utf-8")
        peer.reader.join(5)
        assert "left" in peer.latest, "what it gave is told all the same"


def free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


# --- a wrong clock ---------------------------------------------------------------------------------------------------


def with_clock(swarm: RealSwarm, ahead: Path, *arguments: str) -> Followed:
    peer = Followed("clock", [str(ahead), *arguments], swarm.folder / "logs" / f"clock-{len(swarm.started)}.log", CLOCK)
    swarm.started.append(peer)
    return peer


@pytest.mark.parametrize("seconds", [30.0, -30.0])
def test_a_wrong_clock_is_told_before_anything_is_joined(swarm: RealSwarm, a: Followed, seconds: float) -> None:
    ahead = swarm.folder / "ahead"
    ahead.write_text(str(seconds))
    place = ("--dir", str(swarm.folder / "clock"))
    joiner = with_clock(swarm, ahead, "join", swarm.link, "--yes", *place, *LOOPBACK)
    assert joiner.process.wait(120) == 7, joiner.last_words()
    assert "clock" in joiner.last_words()
    assert "timedatectl" in joiner.last_words()
    assert len(joiner.log.read_text(encoding="utf-8").strip().splitlines()) == 1
    doctor = with_clock(swarm, ahead, "doctor", swarm.link, *place)
    assert doctor.process.wait(120) == 12
    assert "clock" in doctor.last_words()
    assert "timedatectl" in doctor.last_words()
    assert in_rounds_of(a, 1), "the swarm does not mind"


def test_a_clock_that_goes_wrong_later_is_told_by_the_peer_and_by_status(swarm: RealSwarm, a: Followed) -> None:
    ahead = swarm.folder / "later"
    ahead.write_text("0.0")
    own = ("--yes", "--dir", str(swarm.folder / "drifts"), "--threads", "1", "--cache", str(swarm.folder / "cache"))
    peer = with_clock(swarm, ahead, "join", swarm.link, *own, *LOOPBACK)
    wait_for(lambda: in_rounds_of(peer, 2), 90, "rounds of two", a, peer)
    ahead.write_text("20.0")
    wait_for(lambda: "clock" in peer.latest, 60, "it says so", peer)
    assert "s ahead of the others'" in peer.latest["clock"]["words"]
    assert "timedatectl" in peer.latest["clock"]["words"]
    told = json.loads(run("status", "--dir", str(swarm.folder / "drifts"), "--json").stdout)["peers"][0]
    assert "timedatectl" in told["advice"], told
    began = step_of(a)
    wait_for(lambda: step_of(a) > began + 5, 60, "the swarm goes on", a)
    ahead.write_text("0.0")
    wait_for(lambda: "right again" in peer.latest["clock"]["words"], 60, "and when it is well", peer)
    wait_for(lambda: in_rounds_of(peer, 2), 60, "rounds of two again", a, peer)
