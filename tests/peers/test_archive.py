"""An archive with real peers: it keeps what the swarm certified, and a run whose peers are all dead goes on from it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.demo.follow import Followed
from swarm.state.checkpoint import load, saved
from tests.peers.real_swarm import RealSwarm, in_rounds_of, make_run, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[RealSwarm]:
    with swarm_of(tmp_path, make_run(tmp_path)) as swarm:
        yield swarm


def kept(archive: Followed) -> int:
    """The last step that it said it keeps, certified."""
    return int(archive.latest["kept"]["step"]) if "kept" in archive.latest else 0


def given(peer: Followed) -> list[dict[str, Any]]:
    """The steps to which it gave something; those before it has replayed."""
    return [event for event in peer.steps if event.get("included") and event["samples"]]


def kill(*peers: Followed) -> None:
    for peer in peers:
        peer.process.kill()
    for peer in peers:
        peer.process.wait(10)


def step_in(name: str) -> int:
    return int(name.removeprefix("step-"))


def test_a_dead_run_goes_on_from_its_archive(swarm: RealSwarm) -> None:
    seed = swarm.seed()
    a, b = swarm.join("a", "--wait-for", "2"), swarm.join("b", "--wait-for", "2")
    archive = swarm.take_part("archive", "archive", "--keep", "2")
    wait_for(lambda: in_rounds_of(a, 3), 120, "rounds with the archive", a, b, archive)
    wait_for(lambda: kept(archive) >= 8, 120, "two certified states", a, b, archive)
    assert archive.steps[-1]["samples"] == 0
    assert swarm.same("a", "archive")
    place = swarm.folder / "archive"
    assert len(saved(place / "checkpoints")) <= 2 + 1, "thinned"

    kill(archive, a, b, seed)  # the archive too, in the middle of whatever it did
    left = {path.name: load(path).state.digest() for path in saved(place / "checkpoints")}
    assert left, "what it kept is whole"
    for name in ("a", "b"):
        shutil.rmtree(swarm.folder / name)

    newest = saved(place / "checkpoints")[0]
    step = int(newest.name[5:])
    again = swarm.seed("--from", str(newest))
    c, d = swarm.join("c"), swarm.join("d")
    wait_for(lambda: in_rounds_of(c, 2) and in_rounds_of(d, 2), 200, "rounds of newcomers", again, c, d)
    assert min(event["step"] for event in given(c)) > step, "from there on"
    served = saved(swarm.run / "checkpoints")[0]
    assert load(served).state.digest() == left[newest.name]
    wait_for(lambda: bool(swarm.same("c", "d")), 60, "a checkpoint of both", c, d)
    assert min(map(step_in, swarm.states("c"))) > step


def test_volunteers_go_on_by_the_archives_own_link(swarm: RealSwarm) -> None:
    seed = swarm.seed()
    a = swarm.join("a")
    archive = swarm.take_part("archive", "archive")
    wait_for(lambda: kept(archive) >= 4, 120, "a certified state", a, archive)
    kill(a, seed)
    archive.process.send_signal(signal.SIGTERM)
    assert archive.process.wait(15) == 130

    alone = swarm.take_part("archive", "archive")  # by the old link, in which nobody answers any more
    link = str(alone.wait_for("archiving", 60, lambda: alone.ended)["link"])
    newcomer = swarm.join("b", link=link)
    last = int(saved(swarm.folder / "archive" / "checkpoints")[0].name[5:])
    wait_for(lambda: bool(given(newcomer)), 200, "a round with a newcomer", alone, newcomer)
    assert (given(newcomer)[0]["step"], given(newcomer)[0]["group"]) == (last + 1, 2), "no step is lost or repeated"
