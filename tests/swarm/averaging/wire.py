"""Streams between peers of one process, without daemons: the real adapter of the round runs over them as it is.

What `RoundAverager` needs of `Network` and `Streams`, with the same contract: channels are ordered and one-way, a
message over the receiver's limit is refused, and a link can be cut, which breaks its channels at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from swarm.network.streams import PeerError
from swarm.network.traffic import Traffic
from swarm.trust.identity import Identity

QUEUED = 64  # messages on the way in a channel; then the sender waits
LENGTH_BYTES = 4  # in front of each message on a real stream
Receiver = Callable[[str, bytearray], Awaitable[None]]


class Wire:
    """All links of a test, in one event loop with a thread of its own. `cut`: which do not work, as (from, to)."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.receivers: dict[tuple[str, str], tuple[Receiver, int, str]] = {}
        self.peers: dict[str, WireNetwork] = {}
        self.channels: set[WireChannel] = set()
        self.cut: Callable[[str, str], bool] = lambda source, to: False

    def join(self) -> WireNetwork:
        network = WireNetwork(self)
        self.peers[network.peer_id] = network
        return network

    def part(self, *sides: Iterable[str]) -> None:
        """Peers of different sides do not reach one another; no sides: the links are whole again."""
        side = {peer: number for number, peers in enumerate(sides) for peer in peers}
        self.cut = lambda source, to: side.get(source) != side.get(to)
        self.loop.call_soon_threadsafe(self._break)

    def _break(self) -> None:
        for channel in [channel for channel in self.channels if self.cut(channel.source, channel.to)]:
            channel.abort()

    def close(self) -> None:
        async def stop() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class WireNetwork:
    """`Network` as far as averaging uses it; it is its own `streams`."""

    client = False
    failure: str | None = None
    guard = None  # an open run

    def __init__(self, wire: Wire) -> None:
        self.wire, self.identity, self.traffic = wire, Identity.generate(), Traffic()

    @property
    def peer_id(self) -> str:
        return self.identity.peer_id

    @property
    def streams(self) -> WireNetwork:
        return self

    def run(self, work: Coroutine[Any, Any, Any], timeout_seconds: float) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.wire.loop).result(timeout_seconds)

    async def receive(
        self, name: str, receiver: Receiver, *, limit_bytes: int, purpose: str | None = None, direct: bool = False
    ) -> None:
        self.wire.receivers[self.peer_id, name] = receiver, limit_bytes, purpose or name

    async def open_direct(self, peer_id: str, name: str, *, purpose: str | None = None) -> None:
        """Nobody is in one network here."""

    async def open(self, peer_id: str, name: str, *, purpose: str | None = None) -> WireChannel:
        await asyncio.sleep(0)
        if (peer_id, name) not in self.wire.receivers or self.wire.cut(self.peer_id, peer_id):
            raise PeerError(peer_id, "unreachable", "the link is cut")
        return WireChannel(self.wire, self.peer_id, peer_id, name)


class WireChannel:
    def __init__(self, wire: Wire, source: str, to: str, name: str) -> None:
        self.wire, self.source, self.to = wire, source, to
        self.receiver, self.limit, self.purpose = wire.receivers[to, name]
        self.queue: asyncio.Queue[bytearray] = asyncio.Queue(QUEUED)
        self.over = asyncio.Event()
        self.task = asyncio.ensure_future(self._deliver())
        wire.channels.add(self)

    async def send(self, *parts: bytes | memoryview, timeout_seconds: float = 60.0) -> None:
        message = bytearray().join(parts)
        if self.over.is_set() or self.wire.cut(self.source, self.to):
            raise PeerError(self.to, "unreachable", "the link is cut")
        assert len(message) <= self.limit, (len(message), self.limit)
        await self.queue.put(message)
        self.wire.peers[self.source].traffic.add("sent", self.purpose, LENGTH_BYTES + len(message))

    async def _deliver(self) -> None:
        while True:
            message = await self.queue.get()
            self.wire.peers[self.to].traffic.add("received", self.purpose, LENGTH_BYTES + len(message))
            await self.receiver(self.source, message)

    async def ended(self) -> None:
        await self.over.wait()

    def abort(self) -> None:
        self.task.cancel()
        self.over.set()
        self.wire.channels.discard(self)
