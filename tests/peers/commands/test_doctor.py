"""`doctor` and the question of `join` as a newcomer meets them, against a real seed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.run.link import Link, parse
from swarm.trust.identity import Identity
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import make_run
from tests.peers.swarm_demo import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    """Of a run that one seed serves."""
    folder = tmp_path_factory.mktemp("seed")
    served = make_run(folder, steps=4, batch=4)
    command = [sys.executable, "-P", "-m", "peers", "seed", str(served), "--listen", "/ip4/127.0.0.1/tcp/0"]
    with (folder / "log").open("wb") as log:
        seed = subprocess.Popen(command, stdout=log)
    try:
        wait_until((served / "link").is_file, 60, "the seed prints its link")
        yield parse((served / "link").read_text(encoding="utf-8"))
    finally:
        seed.send_signal(signal.SIGINT)
        assert seed.wait(20) == 0


def findings(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    told = json.loads(result.stdout)
    return {finding["name"]: finding for finding in told["findings"]}


def test_a_machine_that_can_join_is_told_what_to_expect(link: Link, tmp_path: Path) -> None:
    result = run("doctor", str(link), "--dir", str(tmp_path / "peer"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip().splitlines()[-1].startswith("You will be a full peer; about 0")
    told = run("doctor", str(link), "--json", "--dir", str(tmp_path / "peer"))
    found = findings(told)
    assert {"python", "packages", "shadows", "open files", "device", "memory", "disk"} <= set(found)
    for name in ("seeds", "manifest", "clock", "line", "reachable", "compute"):
        assert found[name]["verdict"] == "ok", found[name]
    assert "of this network only" in str(found["reachable"]["words"])
    assert "4 such peers: " in str(found["compute"]["words"])
    assert not (tmp_path / "peer").exists(), "nothing is joined and nothing is written"


@pytest.mark.slow
def test_a_dead_seed_is_named_with_its_cause_and_a_living_one_is_enough(link: Link, tmp_path: Path) -> None:
    dead = f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.generate().peer_id}"
    result = run("doctor", str(Link(link.digest, (dead, *link.peers))), "--json", "--client", "--dir", str(tmp_path))
    found = findings(result)
    assert (result.returncode, found["seeds"]["verdict"]) == (0, "warn")
    assert f"{dead}: connection refused" in str(found["seeds"]["words"])
    assert "client-mode" in json.loads(result.stdout)["words"]
    nobody = run("doctor", str(Link(link.digest, (dead,))), "--dir", str(tmp_path))
    assert "connection refused" in assert_one_line(nobody, 12)
    assert "FAIL  seeds" in nobody.stdout


def test_the_wrong_run_at_a_good_address(link: Link, tmp_path: Path) -> None:
    result = run("doctor", str(Link("ab" * 32, link.peers)), "--json", "--dir", str(tmp_path))
    assert result.returncode == 12
    assert findings(result)["manifest"]["verdict"] == "fail"
    assert "does not serve this run" in str(findings(result)["manifest"]["words"])


def test_a_malformed_link_and_no_link(tmp_path: Path) -> None:
    assert_one_line(run("doctor", "bloomswarm:nonsense"), 5)
    result = run("doctor", "--dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "doctor LINK" in result.stdout.splitlines()[-1]


def test_join_says_what_it_costs_on_this_line_before_it_asks(link: Link, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "peers", "join", str(link), "--dir", str(tmp_path / "peer")]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert "--yes" in assert_one_line(result, 3)
    for said in ("Owner", "Languages", "Your line", "Mbit/s up", "Exchange   about", "each way"):
        assert said in result.stdout, said
