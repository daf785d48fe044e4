"""A real swarm for tests: `bloomswarm` commands as processes on loopback, with a model that costs nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers.demo.follow import Followed, run_to_end
from peers.lifecycle import end_all
from swarm.state.checkpoint import latest, load, saved
from tests.peers.swarm_demo import wait_until

LOOPBACK = ("--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json")
CONFIG = """
name = "{name}"
[model]
vocab_size = 300
hidden_size = 32
layers = 1
heads = 2
sequence_length = 32
[[data.sources]]
kind = "starter"
languages = ["en", "fr"]
[training]
steps = {steps}
global_batch = {batch}
checkpoint_every = 4
{training}
[optimizer]
warmup_steps = 1
[averaging]
span_size = 4096
{averaging}
"""


def make_run(
    folder: Path,
    name: str = "small",
    steps: int = 100_000,
    batch: int = 256,
    averaging: str = "",
    training: str = "",
) -> Path:
    """The folder of a new run. A batch of 256 is a step of about a third of a second for one peer of one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / f"{name}.toml"
    parts = {"name": name, "steps": steps, "batch": batch, "averaging": averaging, "training": training}
    config.write_text(CONFIG.format(**parts), encoding="utf-8")
    run_to_end("create", ["create", str(config), "--dir", str(folder / name)], folder / f"{name}.log", lambda: False)
    return folder / name


class RealSwarm:
    """The peers of one run, each a process with a folder of its name. Use `swarm_of`."""

    def __init__(self, folder: Path, run: Path) -> None:
        self.folder, self.run = folder, run
        self.started: list[Followed] = []

    def start(self, name: str, *arguments: str, module: str = "peers") -> Followed:
        """Any command, followed by its events."""
        peer = Followed(name, list(arguments), self.folder / "logs" / f"{len(self.started)}-{name}.log", module)
        self.started.append(peer)
        return peer

    def seed(self, *arguments: str) -> Followed:
        seed = self.start("seed", "seed", str(self.run), *LOOPBACK, *arguments)
        self.link = str(seed.wait_for("seeding", 60, lambda: False)["link"])
        return seed

    def join(self, name: str, *arguments: str, link: str | None = None, module: str = "peers") -> Followed:
        cache = ("--threads", "1", "--cache", str(self.folder / "cache"))
        return self.take_part("join", name, *cache, *arguments, link=link, module=module)

    def assist(self, name: str, *arguments: str) -> Followed:
        return self.take_part("assist", name, *arguments)

    def take_part(
        self, how: str, name: str, *arguments: str, link: str | None = None, module: str = "peers"
    ) -> Followed:
        place = ("--yes", "--dir", str(self.folder / name))
        return self.start(name, how, link or self.link, *place, *LOOPBACK, *arguments, module=module)

    def states(self, name: str) -> dict[str, str]:
        """By checkpoint's name: the digest of the shared state in it."""
        found = {}
        for path in saved(self.folder / name / "checkpoints"):
            if (path / "checkpoint.json").is_file():
                found[path.name] = json.loads((path / "checkpoint.json").read_bytes())["state"]
        return found

    def same(self, *names: str) -> set[str]:
        """The checkpoints that all of them have; each must hold the same bytes everywhere."""
        states = [self.states(name) for name in names]
        common = set.intersection(*(set(found) for found in states))
        for step in common:
            assert len({found[step] for found in states}) == 1, f"{step} differs"
        return common

    def newest(self, name: str) -> Any:
        """The checkpoint itself, verified by reading it."""
        path = latest(self.folder / name / "checkpoints")
        assert path is not None
        return load(path)


@contextmanager
def swarm_of(folder: Path, run: Path) -> Iterator[RealSwarm]:
    swarm = RealSwarm(folder, run)
    try:
        yield swarm
    finally:
        end_all([peer.process for peer in swarm.started], 8)


@contextmanager
def seeded(folder: Path) -> Iterator[RealSwarm]:
    """Of a small run that has a seed."""
    with swarm_of(folder, make_run(folder)) as swarm:
        swarm.seed()
        yield swarm


def step_of(peer: Followed) -> int:
    """The last step that it has said."""
    return int(peer.steps[-1]["step"]) if peer.steps else 0


def in_rounds_of(peer: Followed, size: int) -> bool:
    """Was its last step averaged by so many?"""
    assert not peer.ended, peer.last_words()
    return bool(peer.steps) and peer.steps[-1]["outcome"] == "committed" and peer.steps[-1]["group"] == size


def wait_for(condition: Callable[[], bool], seconds: float, what: str, *peers: Followed) -> None:
    """`wait_until`, and what these peers said last where it fails."""
    try:
        wait_until(condition, seconds, what)
    except AssertionError as error:
        told = "; ".join(f"{peer.name}: {peer.state} | {peer.last_words()}" for peer in peers)
        raise AssertionError(f"{error} ({told})") from None


def free_port() -> int:
    """On which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
