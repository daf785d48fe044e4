"""A peer's life in a real swarm: it comes, is suspended, paused, told to leave, killed, and comes back.

One swarm for all tests, in order: starting processes is what takes the time. `a` stays from the first to the last.
"""

from __future__ import annotations

import json
import shutil
import signal

import psutil
import pytest

from peers.demo.follow import Followed
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import LOOPBACK, RealSwarm, free_port, in_rounds_of, step_of, wait_for
from tests.peers.swarm_demo import alive, tree

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def a(swarm: RealSwarm) -> Followed:
    peer = swarm.join("a")
    wait_for(lambda: in_rounds_of(peer, 1), 90, "the first peer trains alone", peer)
    assert status(swarm, "a")["state"] == "alone"
    return peer


@pytest.fixture(scope="module")
def b(swarm: RealSwarm, a: Followed) -> Followed:
    peer = swarm.join("b")
    wait_for(lambda: in_rounds_of(peer, 2) and in_rounds_of(a, 2), 90, "rounds of two", a, peer)
    return peer


def status(swarm: RealSwarm, name: str) -> dict[str, object]:
    told = json.loads(run("status", "--dir", str(swarm.folder / name), "--json").stdout)
    peer: dict[str, object] = told["peers"][0]
    return peer


def test_two_processes_with_one_key_are_refused(swarm: RealSwarm, b: Followed) -> None:
    said = run("join", swarm.link, "--yes", "--dir", str(swarm.folder / "b"), *LOOPBACK)
    assert "already runs in another process" in assert_one_line(said, 6)
    copy = swarm.folder / "copy"
    copy.mkdir()
    shutil.copy2(swarm.folder / "b" / "identity.pem", copy / "identity.pem")
    said = run("join", swarm.link, "--yes", "--dir", str(copy), *LOOPBACK)
    assert "already runs in another process" in assert_one_line(said, 6)
    assert in_rounds_of(b, 2), "the first one is not disturbed"


def test_a_suspended_peer_is_back_within_a_minute_and_gives_nothing_stale(
    swarm: RealSwarm, a: Followed, b: Followed
) -> None:
    """SIGSTOP to the peer and its daemon, for longer than rounds have patience."""
    processes, before = tree(b.process), step_of(b)  # type: ignore[arg-type]
    for process in processes:
        process.suspend()
    try:
        wait_for(lambda: in_rounds_of(a, 1) and step_of(a) > before + 8, 90, "the other goes on alone", a)
    finally:
        for process in processes:
            process.resume()
    woke, asleep = step_of(a), len(b.steps)
    wait_for(lambda: in_rounds_of(a, 2) and in_rounds_of(b, 2), 60, "both in one round again", a, b)
    assert step_of(b) > woke
    counted = [
        step for step in b.steps[asleep:] if step["outcome"] == "committed" and step["words"].count("averaged with")
    ]
    assert all(step["step"] == before + 1 or step["step"] > woke for step in counted), (
        "what it had before is not counted"
    )
    common = swarm.same("a", "b")
    wait_for(lambda: bool(swarm.same("a", "b") - common), 60, "a checkpoint of both", a, b)


def test_pause_and_resume(swarm: RealSwarm, a: Followed, b: Followed) -> None:
    folder = str(swarm.folder / "b")
    assert "pauses" in run("pause", "--dir", folder).stdout
    wait_for(lambda: bool(b.steps) and b.steps[-1]["samples"] == 0 and in_rounds_of(b, 2), 30, "it gives nothing", b)
    told = status(swarm, "b")
    assert told["state"] == "paused"
    assert "bloomswarm resume" in str(told["advice"])
    began = step_of(b)
    wait_for(lambda: step_of(b) > began + 4, 30, "it stays in step", a, b)
    assert "goes on" in run("resume", "--dir", folder).stdout
    wait_for(lambda: b.steps[-1]["samples"] > 0 and in_rounds_of(b, 2), 30, "it gives again", b)
    assert not [step for step in a.steps[-10:] if step["outcome"] != "committed"]


def test_leaving_says_what_was_given_and_the_same_folder_goes_on(swarm: RealSwarm, a: Followed, b: Followed) -> None:
    processes = tree(b.process)  # type: ignore[arg-type]
    peer_id = b.latest["joined"]["peer_id"]
    b.process.send_signal(signal.SIGTERM)
    assert b.process.wait(10) == 130
    b.reader.join(5)
    left = b.latest["left"]
    assert left["samples"] > 0
    assert set(left["tokens"]) == {"en", "fr"}
    for said in ("You gave", "tokens: ", " en ", "rounds", "sent", "received", "Checkpoint"):
        assert said in left["words"].replace("tokens:", "tokens: "), said
    assert not alive(processes)
    wait_for(lambda: in_rounds_of(a, 1), 15, "one of two voters is no quorum: alone it goes on at once", a)
    assert not [step for step in a.steps if step["outcome"] != "committed"]
    again = swarm.join("b")
    wait_for(lambda: in_rounds_of(again, 2), 90, "it takes part again", a, again)
    assert again.latest["joined"]["peer_id"] == peer_id
    assert f"Going on from step {left['step']}" in (swarm.folder / "b" / "events.jsonl").read_text()
    common = swarm.same("a", "b")
    wait_for(lambda: bool(swarm.same("a", "b") - common), 60, "a checkpoint of both", a, again)
    again.process.kill()
    again.process.wait(5)


def test_peers_that_nobody_can_dial_take_part_at_full_value(swarm: RealSwarm, a: Followed) -> None:
    """One that is told so, and one that finds out: it announces a port that leads nowhere."""
    forced = swarm.join("forced", "--client")
    found = swarm.join("found", "--announce", f"/ip4/127.0.0.1/tcp/{free_port()}")
    wait_for(lambda: in_rounds_of(forced, 3) and in_rounds_of(found, 3), 120, "rounds of three", a, forced, found)
    assert "connection refused" in found.latest["client"]["words"]
    for peer in (forced, found):
        assert not [c for p in tree(peer.process) for c in listening(p)], "it listens for nobody"  # type: ignore[arg-type]
    began = step_of(a)
    wait_for(lambda: step_of(a) > began + 10, 60, "ten rounds more", a)
    for peer in (a, forced, found):
        last = peer.steps[-8:]
        assert all(step["outcome"] == "committed" and step["group"] == 3 for step in last), last
        assert all("without this peer" not in step["words"] for step in last)
        assert sum(step["samples"] for step in last) > 0
    common = swarm.same("a", "forced", "found")
    wait_for(lambda: bool(swarm.same("a", "forced", "found") - common), 60, "a checkpoint of all", a, forced, found)


def listening(process: psutil.Process) -> list[object]:
    """Ports that strangers could dial: all but the metrics, which only this machine reaches over HTTP."""
    if "p2pd" not in process.name():
        return []
    return [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
