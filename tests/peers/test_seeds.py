"""Several doors into one run, a door that goes, a run that ends, and two runs on one machine at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.run.link import parse
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import LOOPBACK, RealSwarm, in_rounds_of, make_run, step_of, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]
STEPS = 24


def test_a_second_seed_outlives_the_first_and_the_run_comes_to_its_end(tmp_path: Path) -> None:
    folder = make_run(tmp_path, steps=STEPS)
    assert "no seed has run here" in assert_one_line(run("seed", str(folder), "--link"), 3)
    with swarm_of(tmp_path, folder) as swarm:
        first = swarm.seed()
        second_folder = tmp_path / "elsewhere"
        second_folder.mkdir()
        for name in ("manifest.json", "tokenizer.json"):
            (second_folder / name).write_bytes((folder / name).read_bytes())
        second = swarm.start("second", "seed", str(second_folder), "--peer", swarm.link, *LOOPBACK)
        second.wait_for("seeding", 60, lambda: False)
        wait_for(lambda: two_doors(swarm), 30, "the first seed's link names both", first, second)
        link = run("seed", str(folder), "--link").stdout.strip()
        first.process.kill()
        first.process.wait(5)
        a, b = swarm.join("a", "--wait-for", "2", link=link), swarm.join("b", "--wait-for", "2", link=link)
        wait_for(lambda: "finished" in a.latest and "finished" in b.latest, 150, "the run's end", a, b)
        assert (a.process.wait(20), b.process.wait(20)) == (0, 0)
        assert a.latest["finished"]["digest"] == b.latest["finished"]["digest"]
        assert f"Reached step {STEPS}" in a.latest["finished"]["words"]
        assert swarm.newest("a").state.step == STEPS


def two_doors(swarm: RealSwarm) -> bool:
    link = parse(run("seed", str(swarm.run), "--link").stdout.strip())
    return len({door.rpartition("/p2p/")[2] for door in link.peers}) == 2


@pytest.mark.slow
def test_two_runs_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, name) for name in ("one", "two")]
    with swarm_of(tmp_path / "one", runs[0]) as one, swarm_of(tmp_path / "two", runs[1]) as two:
        one.seed()
        two.seed()
        a, b = one.join("a"), two.join("b")
        wait_for(lambda: step_of(a) > 3 and step_of(b) > 3, 120, "both train", a, b)
        assert in_rounds_of(a, 1)
        assert in_rounds_of(b, 1)
        said = run("join", two.link, "--yes", "--dir", str(tmp_path / "one" / "peer-of-one"), *LOOPBACK, "--steps", "1")
        assert said.returncode == 0, said.stderr
        other = run("join", one.link, "--yes", "--dir", str(tmp_path / "one" / "peer-of-one"), *LOOPBACK)
        line = assert_one_line(other, 9)
        for told in ("holds another run", "name: 'two' here, 'one' there", "--dir"):
            assert told in line, line
