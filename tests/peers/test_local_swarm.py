"""A real swarm in mode "local": it learns, its replicas are the same bytes, and a peer that was killed comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.demo.follow import Followed, run_to_end
from peers.lifecycle import end_all
from swarm.state.checkpoint import latest, load, saved
from tests.peers.swarm_demo import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(400)]
ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = ["--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json"]
PEERS = ("a", "b")


class LocalSwarm:
    """A seed and the peers of `configs/tiny-local.toml`, each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        arguments = ["create", str(ROOT / "configs" / "tiny-local.toml"), "--dir", str(folder / "run")]
        run_to_end("create", [*arguments, "--steps", "5000"], folder / "create.log", lambda: False)
        self.seed = Followed("seed", ["seed", str(folder / "run"), *LOOPBACK], folder / "seed.log")
        self.link = str(self.seed.wait_for("seeding", 120, lambda: False)["link"])
        self.started = [self.seed]

    def join(self, name: str, wait_for: int = 1) -> Followed:
        arguments = ["join", self.link, "--yes", "--dir", str(self.folder / name), "--threads", "1", *LOOPBACK]
        arguments += ["--cache", str(self.folder / "cache"), "--wait-for", str(wait_for)]
        peer = Followed(name, arguments, self.folder / f"{name}-{len(self.started)}.log")
        self.started.append(peer)
        return peer

    def checkpoints(self, name: str) -> dict[str, str]:
        """By folder name: the digest of the shared state in it."""
        found = {}
        for path in saved(self.folder / name / "checkpoints"):
            if (path / "checkpoint.json").is_file():
                found[path.name] = json.loads((path / "checkpoint.json").read_bytes())["state"]
        return found

    def agree(self) -> bool:
        mine, theirs = (self.checkpoints(name) for name in PEERS)
        return any(theirs.get(step) == digest for step, digest in mine.items())


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSwarm]:
    swarm = LocalSwarm(tmp_path_factory.mktemp("local"))
    try:
        yield swarm
    finally:
        end_all([one.process for one in swarm.started], 5)


def group(peer: Followed, size: int) -> bool:
    """Has its last step been averaged by so many?"""
    assert not peer.ended, peer.last_words()
    return bool(peer.steps) and peer.steps[-1]["outcome"] == "committed" and peer.steps[-1]["group"] == size


def test_it_learns_and_a_peer_that_was_killed_comes_back(swarm: LocalSwarm) -> None:
    a, b = swarm.join("a", wait_for=2), swarm.join("b", wait_for=2)
    wait_until(lambda: group(a, 2) and group(b, 2) and len(a.steps) >= 8 and swarm.agree(), 180, "rounds of two")
    losses = [event["loss"] for event in a.steps if event["loss"] is not None]
    assert losses[-1] < losses[0] - 0.5, losses
    b.process.kill()
    b.process.wait()
    alone = len(a.steps)
    wait_until(lambda: group(a, 1) and len(a.steps) >= alone + 2, 60, "the other goes on alone")
    fork = a.steps[-1]["step"]
    again = swarm.join("b")
    wait_until(lambda: group(again, 2) and group(a, 2), 120, "both in one round again")
    assert again.steps[-1]["step"] > fork

    def certified_together() -> bool:
        mine, theirs = (swarm.checkpoints(name) for name in PEERS)
        common = [step for step in mine.keys() & theirs.keys() if int(step.removeprefix("step-")) > fork]
        assert all(mine[step] == theirs[step] for step in common), (mine, theirs)
        return bool(common)

    wait_until(certified_together, 60, "a checkpoint of both after the return")
    newest = latest(swarm.folder / "b" / "checkpoints")
    assert newest is not None
    assert load(newest).state.names == ("parameters", "momentum")
