"""Streams that others open to this peer: every one of them may be a stranger's, and most of what is here bounds it.

A message's size is checked before memory is taken for it, what one peer may have under way is a part of what all may,
who stalls or does not read is given up, and what is given away is limited before it is made. All of it is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from swarm.network.allowance import Allowance
from swarm.network.conversations import ANSWER, LENGTH, MAX_REFUSAL, OK
from swarm.network.failure import RefusedError
from swarm.network.file_part import FilePart
from swarm.network.pipe import Buffer, Pipe
from swarm.network.room import Room
from swarm.network.traffic import Traffic

END = LENGTH.pack(0xFFFFFFFF)
REFUSED = 1
STREAMS_PER_PEER = 64
FILES_SHARE = 2  # one in so many of the files that this process may open may be a stream of somebody else's
ROOM_BYTES, ROOM_EACH_BYTES = 256 << 20, 32 << 20  # under way at once, of all and of one peer; each way
SLOWEST_BYTES_PER_SECOND = 20_000  # a frame that comes slower than this is given up
STALL_SECONDS = 20.0
IDLE_SECONDS = 600.0  # a one-way channel on which nothing comes
SLICE_BYTES = 1 << 19  # of an answer: each must be read in time, so that who reads nothing is soon given up
EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS, LEAST_BYTES = 4 << 20, 64 << 20, 60.0, 1024  # given away by one handler

Answer = Buffer | FilePart
Handler = Callable[[str, bytearray], Awaitable[Answer]]  # (peer id, request) -> response
Receiver = Callable[[str, bytearray], Awaitable[None]]  # (peer id, message); the next is read when it returns
logger = logging.getLogger(__name__)


def usual() -> Allowance:
    """What a handler gives away that says nothing else."""
    return Allowance(EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS, least=LEAST_BYTES)


def most_streams(files: int) -> int:
    """Of all peers together, where this process may open so many files."""
    return sys.maxsize if files == resource.RLIM_INFINITY else max(STREAMS_PER_PEER, files // FILES_SHARE)


@dataclass(frozen=True)
class Service:
    """handler or receiver. anyone: also who is not invited. allowance: bytes of answers."""

    handler: Handler | None
    receiver: Receiver | None
    limit_bytes: int
    purpose: str
    anyone: bool = False
    allowance: Allowance = field(default_factory=usual)


class Door(Protocol):
    """Whom this peer deals with, in a run that is not open."""

    async def refusal(self, peer_id: str) -> str | None: ...


class Serving:
    """In the network's event loop. `rejected`: what strangers did wrong, by reason."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.door: Door | None = None
        self.rejected: Counter[str] = Counter()
        self.inbound, self.outbound = Room(ROOM_BYTES, ROOM_EACH_BYTES), Room(ROOM_BYTES, ROOM_EACH_BYTES)
        self.most = most_streams(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.open: dict[str, dict[asyncio.Task[None], None]] = {}  # peer -> its streams, the oldest first
        self.told: set[str] = set()  # purposes whose failure is in the log

    async def serve(self, pipe: Pipe, service: Service) -> None:
        """Until the other end closes it or does something wrong."""
        if len(self.open.get(pipe.peer_id, ())) >= STREAMS_PER_PEER:
            self.rejected["streams"] += 1
            return
        self._make_room()
        task = asyncio.current_task()
        assert task is not None
        self.open.setdefault(pipe.peer_id, {})[task] = None
        try:
            if service.handler is not None:
                await self._answer(pipe, service, service.handler)
            elif service.receiver is not None:
                await self._receive(pipe, service, service.receiver)
        except TimeoutError:
            self.rejected["stalled"] += 1
        finally:
            self._forget(pipe.peer_id, task)

    def _make_room(self) -> None:
        """Where there are as many streams as may be, who has most of them loses its oldest."""
        if sum(map(len, self.open.values())) >= self.most:
            greedy = max(self.open, key=lambda peer: len(self.open[peer]))
            oldest = next(iter(self.open[greedy]))
            self._forget(greedy, oldest)
            oldest.cancel()
            self.rejected["streams"] += 1

    def _forget(self, peer_id: str, task: asyncio.Task[None]) -> None:
        streams = self.open.get(peer_id, {})
        streams.pop(task, None)
        if not streams:
            self.open.pop(peer_id, None)

    # --- what comes --------------------------------------------------------------------------------------------------

    async def _receive(self, pipe: Pipe, service: Service, receiver: Receiver) -> None:
        """The messages of a channel, one by one, until its sender ends it."""
        while (header := await self._header(pipe, IDLE_SECONDS)) != END:
            if await self._refusal(pipe.peer_id, service) is not None:
                return
            async with self._message(pipe, service, header) as message:
                try:
                    await receiver(pipe.peer_id, message)
                except Exception:
                    self._failed(service)
                    return
        await pipe.write(b"\0")
        async with asyncio.timeout(STALL_SECONDS):
            await pipe.finish()

    async def _refusal(self, peer_id: str, service: Service) -> str | None:
        """Why this peer gets nothing here, counted; None where it does."""
        if self.door is None or service.anyone:
            return None
        why = await self.door.refusal(peer_id)
        if why is not None:
            self.rejected[why] += 1
        return why

    async def _header(self, pipe: Pipe, idle_seconds: float) -> bytearray:
        async with asyncio.timeout(idle_seconds):
            return await pipe.read(LENGTH.size)

    @contextlib.asynccontextmanager
    async def _message(self, pipe: Pipe, service: Service, header: bytearray) -> AsyncIterator[bytearray]:
        """One frame; counted against what may be held at once until its consumer is done with it."""
        (size,) = LENGTH.unpack(header)
        if size > service.limit_bytes or not self.inbound.fits(pipe.peer_id, size):
            self.rejected["size" if size > service.limit_bytes else "busy"] += 1
            raise EOFError(f"a message of {size} bytes")
        with self.inbound.holding(pipe.peer_id, size):
            async with asyncio.timeout(STALL_SECONDS + size / SLOWEST_BYTES_PER_SECOND):
                message = await pipe.read(size)
            self.traffic.add("received", service.purpose, LENGTH.size + size)
            yield message

    # --- what is asked -----------------------------------------------------------------------------------------------

    async def _answer(self, pipe: Pipe, service: Service, handler: Handler) -> None:
        """Requests, one after another, until who asks has closed."""
        header = await self._header(pipe, STALL_SECONDS)
        while True:
            async with self._message(pipe, service, header) as request:
                status, answer = await self._handled(pipe.peer_id, service, handler, request)
            await self._give(pipe, service, status, answer)
            try:
                header = await self._header(pipe, STALL_SECONDS)
            except TimeoutError:
                return  # nothing more is asked: that is no stall

    async def _handled(
        self, peer_id: str, service: Service, handler: Handler, request: bytearray
    ) -> tuple[int, Answer]:
        """Status and answer. What may not be given is not made either."""
        try:
            if (why := await self._refusal(peer_id, service)) is not None:
                raise RefusedError(why)
            if not service.allowance.take(peer_id, 0):
                raise RefusedError(self._flooded())
            answer = await handler(peer_id, request)
            if not service.allowance.take_more(peer_id, len(answer)):
                _close(answer)
                raise RefusedError(self._flooded())
            return OK, answer
        except RefusedError as refusal:
            return REFUSED, str(refusal).encode("utf-8")[:MAX_REFUSAL]
        except Exception:
            self._failed(service)
            return REFUSED, b"the handler failed"

    def _flooded(self) -> str:
        self.rejected["flood"] += 1
        return "so much was given already; ask another peer"

    def _failed(self, service: Service) -> None:
        """A bug in what handles a message must not look like a dead peer. Told once: strangers may repeat it."""
        self.rejected["failed"] += 1
        if service.purpose not in self.told:
            self.told.add(service.purpose)
            logger.exception("the handler of %s failed", service.purpose)

    async def _give(self, pipe: Pipe, service: Service, status: int, answer: Answer) -> None:
        try:
            if self.outbound.fits(pipe.peer_id, len(answer)):
                await self._send(pipe, service, status, answer)
            else:
                self.rejected["busy"] += 1
                await self._send(pipe, service, REFUSED, b"too many ask at once; try again later")
        finally:
            _close(answer)

    async def _send(self, pipe: Pipe, service: Service, status: int, answer: Answer) -> None:
        rest = answer if isinstance(answer, FilePart) else memoryview(answer)
        size = SLICE_BYTES if pipe.caps.upload is None else max(1, len(rest))  # a cap of ours is not the reader's fault
        with self.outbound.holding(pipe.peer_id, len(answer)):
            head: tuple[Buffer, ...] = (ANSWER.pack(status, len(answer)),)
            for start in range(0, max(1, len(rest)), size):
                piece = rest[start : start + size]
                async with asyncio.timeout(STALL_SECONDS + len(piece) / SLOWEST_BYTES_PER_SECOND):
                    await pipe.write(*head, piece)
                head = ()
            self.traffic.add("sent", service.purpose, ANSWER.size + len(answer))


def _close(answer: Answer) -> None:
    if isinstance(answer, FilePart):
        answer.close()
