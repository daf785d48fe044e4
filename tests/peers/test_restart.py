"""A run that everybody has left goes on from a checkpoint that its owner vouches for, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from swarm.run.link import parse
from swarm.trust.identity import Identity
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import in_rounds_of, make_run, step_of, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_dead_run_goes_on_where_its_owner_says(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with swarm_of(tmp_path, folder) as swarm:
        seed = swarm.seed()
        a, b = swarm.join("a", "--wait-for", "2"), swarm.join("b", "--wait-for", "2")
        archive = swarm.take_part("archive", "archive", "--keep", "2")
        wait_for(lambda: step_of(b) >= 9 and len(swarm.states("archive")) > 0, 120, "some rounds", a, b, archive)
        b.process.kill()
        b.process.wait(5)
        old = step_of(b)
        wait_for(lambda: step_of(a) > old + 12, 120, "the other goes on", a)
        alive = run("seed", str(folder), "--from", str(newest(tmp_path / "b")), "--peer", swarm.link)
        assert "already runs" in assert_one_line(alive, 6)
        wait_for(lambda: len(swarm.states("archive")) >= 2, 60, "two checkpoints are archived", archive)
        for peer in (a, archive, seed):
            peer.process.kill()
            peer.process.wait(5)
    kept = newest(tmp_path / "archive")
    step = int(kept.name[5:])
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "b" / "peers.json").unlink(missing_ok=True)
    with swarm_of(tmp_path, folder) as swarm:
        seed = swarm.seed("--from", str(kept))
        assert f"goes on from step {step}" in seed.latest["restart"]["words"]
        new, back, third = (swarm.join(name) for name in ("new", "b", "third"))
        wait_for(
            lambda: all(in_rounds_of(peer, 3) and step_of(peer) > step for peer in (new, back, third)),
            180,
            "all go on together",
            new,
            back,
            third,
        )
        common = swarm.same("new", "b", "third")
        wait_for(lambda: bool(swarm.same("new", "b", "third") - common), 60, "a checkpoint of all", new, back, third)
        assert all(event["step"] > step or event["outcome"] == "missed" for event in new.steps), "no step was repeated"
        late = swarm.join("late")
        wait_for(lambda: in_rounds_of(late, 4), 120, "a late one finds its way too", late)


def newest(folder: Path) -> Path:
    """The newest whole checkpoint of a peer."""
    found = [path for path in (folder / "checkpoints").glob("step-*") if (path / "checkpoint.json").is_file()]
    return max(found, key=lambda path: path.name)


def test_a_checkpoint_is_signed_by_the_owner_and_nobody_else(tmp_path: Path) -> None:
    folder = make_run(tmp_path, steps=8, batch=8)
    with swarm_of(tmp_path, folder) as swarm:
        swarm.seed()
        a = swarm.join("a")
        wait_for(lambda: "finished" in a.latest, 90, "the run's end", a)
        path = newest(tmp_path / "a")
        said = run("sign", str(folder), str(path))
        assert said.returncode == 0, said.stderr
        link = parse(said.stdout.split("'")[1])
        record = json.loads((path / "checkpoint.json").read_bytes())
        assert link.at == (8, record["state"])
        assert len(list((folder / "endorsements").iterdir())) == 1
    Identity.create(tmp_path / "stranger.pem")
    assert "neither the owner" in assert_one_line(
        run("sign", str(folder), str(path), "--key", str(tmp_path / "stranger.pem")), 6
    )
    assert "not a checkpoint folder" in assert_one_line(run("sign", str(folder), str(tmp_path / "none")), 8)
    state = path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-4] + b"\0\0\0\1")
    assert_one_line(run("sign", str(folder), str(path)), 8)
