"""The way to each other peer: a control lane and a bulk lane, each an ordered stream with a bounded queue and a task.

A control message never waits behind megabytes, and a slow peer never holds up another. What cannot be delivered is
dropped and said (`lost`): the core asks again or goes on without.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from swarm.network.streams import Channel, PeerError

Lane = Literal["round-control", "round-bulk"]
Bytes = bytes | memoryview
Load = Callable[[], Awaitable[Bytes | None]]  # the payload when its turn comes; None: not needed any more
Payload = tuple[Hashable, Load]  # with what it is known by
PURPOSE = "averaging"
HEAD = struct.Struct(">I")  # bytes of the message, before the message, zeros and its payload
WORD_BYTES = 8  # a payload begins at a multiple of it
CONTROL_SECONDS, BULK_SECONDS = 15.0, 120.0
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.25, 5.0
LOOK_SECONDS = 300.0  # between two looks for a way past the daemon
QUEUED_PAGES = 64  # messages in the queue of a peer that is sent no page of the log until it has read them
QUEUED_CONTROL, QUEUED_CONTROL_BYTES = 4096, 16 << 20  # messages to one peer, and bytes unless one message is more


def payload_at(size: int) -> int:
    """Where the payload behind a message of `size` bytes begins."""
    return -(-(HEAD.size + size) // WORD_BYTES) * WORD_BYTES


def before_payload(data: bytes) -> bytes:
    """The message with its length, and zeros up to where its payload begins."""
    return (HEAD.pack(len(data)) + data).ljust(payload_at(len(data)), b"\0")


class Opener(Protocol):
    """What a lane needs of the network (`Streams` is one)."""

    async def open(self, peer_id: str, name: str, *, purpose: str | None = None) -> Channel: ...

    async def open_direct(self, peer_id: str, name: str, *, purpose: str | None = None) -> Channel | None: ...


@dataclass
class _Lane:
    """One stream to one peer, opened when there is something to send.

    The first messages of a bulk lane go through the daemon, since a round does not wait; a way past it is looked for
    meanwhile, and taken when all that was sent before has arrived.
    """

    peer: str
    name: Lane
    opener: Opener
    limit: int
    lost: Callable[[str], None]
    queue: deque[tuple[bytes, Payload | None]] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    channel: Channel | None = None
    watch: asyncio.Task[None] | None = None
    stale: bool = False  # the other end has closed the channel
    backoff: float = 0.0
    closed_until: float = 0.0
    direct: bool = False  # the channel passes the daemon
    looking: asyncio.Task[Channel | None] | None = None  # for such a one
    look_at: float = 0.0
    waiting_bytes: int = 0  # of the messages in the queue, without payloads

    def put(self, now: float, data: bytes, payload: Payload | None) -> bool:
        """Queue a message. False where the peer cannot be reached just now or takes nothing.

        Bytes that are under way are not queued again: who asks for them has only not had them yet.
        """
        full = len(self.queue) >= self.limit or self.waiting_bytes + len(data) > QUEUED_CONTROL_BYTES
        if now < self.closed_until or (self.queue and full):
            return False
        if payload is not None and any(payload[0] == other[0] for _, other in self.queue if other is not None):
            return True
        self.queue.append((data, payload))
        self.waiting_bytes += len(data)
        self.ready.set()
        return True

    async def run(self) -> None:
        while True:
            await self.ready.wait()
            try:
                await self._drain()
            except PeerError:
                self._break()
                self.lost(self.peer)

    async def _drain(self) -> None:
        while self.queue:
            data, wanted = self.queue[0]
            payload = await wanted[1]() if wanted is not None else b""
            if payload is not None:
                if self.stale:
                    self.abort()
                if self.channel is None:
                    self._use(await self.opener.open(self.peer, self.name, purpose=PURPOSE))
                if self.name == "round-bulk" and not self.direct:
                    await self._look_for_direct()
                seconds = BULK_SECONDS if wanted is not None else CONTROL_SECONDS
                before = before_payload(data) if wanted is not None else HEAD.pack(len(data)) + data
                assert self.channel is not None
                await self.channel.send(before, payload, timeout_seconds=seconds)
                self.backoff = 0.0
            if self.queue:
                self.waiting_bytes -= len(self.queue.popleft()[0])
        self.ready.clear()

    def _use(self, channel: Channel) -> None:
        self.channel = channel
        self.watch = asyncio.ensure_future(self._ended(channel))

    async def _look_for_direct(self) -> None:
        """Begin to look for a way past the daemon, now and then; change over to the one that was found."""
        if self.looking is None:
            now = asyncio.get_running_loop().time()
            if now >= self.look_at:
                self.look_at = now + LOOK_SECONDS
                self.looking = asyncio.ensure_future(self.opener.open_direct(self.peer, self.name, purpose=PURPOSE))
        elif self.looking.done():
            found, self.looking = _found(self.looking), None
            if found is not None:
                await self._change(found)

    async def _change(self, found: Channel) -> None:
        """PeerError where what was sent before did not arrive."""
        assert self.channel is not None
        assert self.watch is not None
        try:
            self.watch.cancel()
            await asyncio.gather(self.watch, return_exceptions=True)
            await self.channel.close(BULK_SECONDS)
        except BaseException:
            found.abort()
            raise
        self._use(found)
        self.direct = True

    async def _ended(self, channel: Channel) -> None:
        """The other end is gone: what was sent last may not have arrived."""
        await channel.ended()
        self.stale = True
        self.lost(self.peer)

    def _break(self) -> None:
        self.backoff = min(LONGEST_BACKOFF_SECONDS, 2 * self.backoff or BACKOFF_SECONDS)
        self.closed_until = asyncio.get_running_loop().time() + self.backoff
        self.queue.clear()
        self.waiting_bytes = 0
        self.ready.clear()
        self.abort()

    def abort(self) -> None:
        self.stale = self.direct = False
        self.look_at = 0.0
        if self.looking is not None:
            self.looking.add_done_callback(_give_up)
            self.looking.cancel()
            self.looking = None
        if self.watch is not None:
            self.watch.cancel()
            self.watch = None
        if self.channel is not None:
            self.channel.abort()
            self.channel = None


def _found(looking: asyncio.Task[Channel | None]) -> Channel | None:
    """What came of looking; whatever went wrong, there is the daemon."""
    return None if looking.cancelled() or looking.exception() is not None else looking.result()


def _give_up(looking: asyncio.Task[Channel | None]) -> None:
    """A channel that was found and that nobody wants any more."""
    if (found := _found(looking)) is not None:
        found.abort()


class Links:
    """All lanes of this peer. In the network's loop only. lost: told, at most once per failure, whose stream broke."""

    def __init__(self, opener: Opener, lost: Callable[[str], None], bulk_limit: int) -> None:
        self.opener, self.lost, self.bulk_limit = opener, lost, bulk_limit
        self.lanes: dict[tuple[str, Lane], _Lane] = {}
        self.tasks: dict[tuple[str, Lane], asyncio.Task[None]] = {}
        self.dropped = 0

    def send(self, to: str, data: bytes, payload: Payload | None = None) -> None:
        """Queue a message, with a payload on the bulk lane."""
        key: tuple[str, Lane] = (to, "round-bulk" if payload is not None else "round-control")
        lane = self.lanes.get(key)
        if lane is None:
            limit = self.bulk_limit if payload is not None else QUEUED_CONTROL
            lane = self.lanes[key] = _Lane(to, key[1], self.opener, limit, self.lost)
            self.tasks[key] = asyncio.ensure_future(lane.run())
        if not lane.put(asyncio.get_running_loop().time(), data, payload):
            self.dropped += 1

    def takes(self, peer: str) -> bool:
        """Has it read what was sent to it? Then it may be sent as much as a page of the log."""
        lane = self.lanes.get((peer, "round-control"))
        return lane is None or len(lane.queue) < QUEUED_PAGES

    def keep_only(self, peers: set[str]) -> None:
        """Close the lanes to peers that are of no concern any more."""
        for key in [key for key in self.lanes if key[0] not in peers and not self.lanes[key].queue]:
            self.tasks.pop(key).cancel()
            self.lanes.pop(key).abort()

    async def flush(self, seconds: float) -> None:
        """Give queued control messages a moment to leave."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(lane.queue for key, lane in self.lanes.items() if key[1] == "round-control"):
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        for lane in self.lanes.values():
            lane.abort()
        self.lanes.clear()
        self.tasks.clear()
