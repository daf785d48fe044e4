"""A stranger that throws all it has at every protocol of a peer that trains: training goes on, and memory stays."""

from __future__ import annotations

import asyncio
import contextlib
import random
import urllib.request
from collections.abc import Awaitable, Callable

import psutil
import pytest

from peers.demo.follow import Followed
from peers.telling.progress import read_progress
from swarm.network.conversations import LENGTH
from swarm.network.host import Network
from swarm.network.pipe import DaemonError, Pipe, open_stream
from swarm.network.serving import STREAMS_PER_PEER
from swarm.run.link import parse
from swarm.trust.identity import Identity
from tests.peers.real_swarm import RealSwarm, in_rounds_of, step_of, wait_for
from tests.peers.test_hostile_requests import requests

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(320)]
PROTOCOLS = (
    "round-control", "round-bulk", "round-log", "round-means", "round-gifts", "state-offers", "state-spans",
    "endorsement", "amendments", "blob", "manifest", "sounding", "reach",
)  # fmt: skip
GROWN_BYTES = 96 << 20  # by what a peer's memory may swing in a minute anyway, and what strangers may have under way
Attack = Callable[[Pipe], Awaitable[None]]


async def malformed(pipe: Pipe) -> None:
    for request in (*requests(str(random.random()), 60), b"\xff" * 60):
        await pipe.write(LENGTH.pack(len(request)), request)


async def oversize(pipe: Pipe) -> None:
    await pipe.write(LENGTH.pack(2**31), bytes(10_000))


async def stalled(pipe: Pipe) -> None:
    await pipe.write(LENGTH.pack(40), b"half of it")


async def unread(pipe: Pipe) -> None:
    """Asks for as much as there is, again and again, and reads none of it."""
    for request in (b"", bytes(32), b"\0\0\x10\0", *requests("unread", 60)):
        await pipe.write(LENGTH.pack(len(request)), request)


async def silent(pipe: Pipe) -> None: ...


ATTACKS: tuple[Attack, ...] = (malformed, oversize, stalled, unread, silent)


class Stranger:
    """With a key of its own, which it can have for nothing. Its streams stay open until it is closed."""

    def __init__(self, swarm: RealSwarm, victim: str) -> None:
        link = parse(swarm.link)
        self.network = Network(Identity.generate(), link.digest, initial_peers=link.peers, client=True)
        self.prefix, self.victim, self.pipes = f"/bloomswarm/{link.digest}/", victim, list[Pipe]()

    def __enter__(self) -> Stranger:
        self.network.start()
        self.network.meet(read_progress(self.network)[self.victim].addresses)
        return self

    def __exit__(self, *_: object) -> None:
        self.network.run(self._close(), 10)
        self.network.close()

    async def _close(self) -> None:
        for pipe in self.pipes:
            pipe.close()

    def attack(self, name: str, attack: Attack) -> None:
        self.network.run(self._attack(name, attack), 30)

    async def _attack(self, name: str, attack: Attack) -> None:
        with contextlib.suppress(OSError, EOFError, DaemonError, TimeoutError):
            async with asyncio.timeout(5):
                pipe = await open_stream(self.network._engine.daemon.control, self.victim, self.prefix + name)
                self.pipes.append(pipe)
                await attack(pipe)

    def flood(self, name: str, attack: Attack) -> None:
        """More streams than one peer may have."""
        self.network.run(self._flood(name, attack), 60)

    async def _flood(self, name: str, attack: Attack) -> None:
        for _ in range(STREAMS_PER_PEER + 10):
            await self._attack(name, attack)


def memory(peer: Followed) -> int:
    """Of the process and its daemon, bytes."""
    process = psutil.Process(peer.process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def logged(swarm: RealSwarm, name: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (swarm.folder / "logs").glob(f"*-{name}.log"))


def rejected(url: str) -> float:
    """What it has counted as refused, as its metrics say."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("swarm_rejected_total"))


def test_a_stranger_stops_no_training_and_takes_no_memory(swarm: RealSwarm) -> None:
    a, b = swarm.join("a"), swarm.join("b")
    wait_for(lambda: in_rounds_of(a, 2) and step_of(a) > 12, 150, "rounds of two", a, b)
    url, victim = str(a.latest["metrics"]["url"]), str(a.latest["joined"]["peer_id"])
    before, at = memory(a), step_of(a)
    refused = rejected(url)
    with Stranger(swarm, victim) as first, Stranger(swarm, victim) as second:
        for name in PROTOCOLS:
            for attack in ATTACKS:
                first.attack(name, attack)
        for name in ("state-spans", "round-bulk", "manifest"):
            second.flood(name, unread)
        wait_for(lambda: step_of(a) > at + 10 and in_rounds_of(a, 2), 90, "training goes on", a, b)
        wait_for(lambda: rejected(url) > refused, 30, "it is counted", a)
        assert memory(a) - before < GROWN_BYTES
        newcomer = swarm.join("c")
        wait_for(lambda: in_rounds_of(newcomer, 3), 90, "a newcomer is served meanwhile", a, b, newcomer)
    at = step_of(a)
    wait_for(lambda: step_of(a) > at + 3, 60, "and it goes on after that", a, b)
    assert memory(a) - before < GROWN_BYTES
    for peer in ("a", "b", "c", "seed"):
        assert "Traceback" not in logged(swarm, peer), peer
    assert swarm.same("a", "b")
