"""Messages between peers on raw streams: a request with its response, or one-way channels of framed messages.

Every size is checked before memory is taken for it. The protocol name holds the run's digest, so peers of different
runs do not even share a stream. Bytes are counted as they are written and read, frame headers included.

    request, one-way message    length (4 bytes, big-endian) | body
    response                    status (1 byte) | length (4 bytes) | body, or the refusal's text; then perhaps more
    end of a channel            the length 2^32 - 1; answered by one zero byte when every message was taken

The end is answered in words because the daemon closes a stream that is closed on one side long before the other side
has read it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from swarm.network.caps import UNCAPPED, Caps
from swarm.network.conversations import ANSWER, LENGTH, MAX_REFUSAL, OK, Conversation
from swarm.network.failure import PeerError, RefusedError, failures
from swarm.network.pipe import Buffer, Listener, Pipe, open_stream
from swarm.network.traffic import Traffic

END = LENGTH.pack(0xFFFFFFFF)
REFUSED = 1
STREAMS_PER_PEER = 64
MAX_INBOUND_BYTES = 256 << 20  # of messages being received at once, over all peers
MAX_OUTBOUND_BYTES = 256 << 20  # of answers being sent at once, likewise
SLOWEST_BYTES_PER_SECOND = 20_000  # a frame that comes slower than this is given up
STALL_SECONDS = 20.0
IDLE_SECONDS = 600.0  # a one-way channel on which nothing comes

__all__ = ["Channel", "Conversation", "Handler", "PeerError", "Receiver", "RefusedError", "Streams"]
Handler = Callable[[str, bytearray], Awaitable[Buffer]]  # (peer id, request) -> response
Receiver = Callable[[str, bytearray], Awaitable[None]]  # (peer id, message); the next is read when it returns
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Service:
    handler: Handler | None
    receiver: Receiver | None
    limit_bytes: int
    purpose: str
    anyone: bool = False  # also who is not invited


class Door(Protocol):
    """Whom this peer deals with, in a run that is not open."""

    async def refusal(self, peer_id: str) -> str | None: ...


class Channel:
    """One-way, ordered messages to one handler of one peer. Not acknowledged until `close`."""

    def __init__(self, pipe: Pipe, traffic: Traffic, purpose: str) -> None:
        self._pipe = pipe
        self._traffic = traffic
        self._purpose = purpose
        self._turn = asyncio.Lock()

    async def send(self, *parts: Buffer, timeout_seconds: float = 60.0) -> None:
        """One message made of `parts`, which are not copied. PeerError where the stream broke."""
        size = sum(map(len, parts))
        with failures(self._pipe.peer_id, timeout_seconds):
            async with asyncio.timeout(timeout_seconds), self._turn:
                await self._pipe.write(LENGTH.pack(size), *parts)
        self._traffic.add("sent", self._purpose, LENGTH.size + size)

    async def close(self, timeout_seconds: float = 5.0) -> None:
        """Wait until the receiver has taken every message, then close. PeerError where it has not."""
        try:
            with failures(self._pipe.peer_id, timeout_seconds):
                async with asyncio.timeout(timeout_seconds), self._turn:
                    await self._pipe.write(END)
                    await self._pipe.read(1)
        finally:
            self._pipe.close()

    async def ended(self) -> None:
        """Until the receiver is gone. Not together with `close`."""
        try:
            await self._pipe.read(1)
        except (EOFError, OSError):
            return

    def abort(self) -> None:
        self._pipe.close()


class Streams:
    """The registry of handlers and the calling side. Lives in the network's event loop."""

    def __init__(self, namespace: str, traffic: Traffic, caps: Caps = UNCAPPED) -> None:
        self._prefix = f"/bloomswarm/{namespace}/"
        self._traffic = traffic
        self._caps = caps
        self._services: dict[str, _Service] = {}
        self._control = ""
        self._listener: Listener | None = None
        self._open: Counter[str] = Counter()
        self._inbound_bytes = self._outbound_bytes = 0
        self.rejected: Counter[str] = Counter()  # what strangers did wrong, by reason
        self.door: Door | None = None

    async def attach(self, control: str, listen_path: str) -> None:
        """Serve through a daemon: the first one, or the one that took the place of one that died."""
        await self.close()
        self._control = control
        self._listener = Listener(control, listen_path, self._serve)
        self._listener.start()
        for name in self._services:
            await self._listener.register(self._prefix + name)

    async def handle(
        self, name: str, handler: Handler, *, limit_bytes: int, purpose: str | None = None, anyone: bool = False
    ) -> None:
        """Answer requests of at most `limit_bytes` to `name`. A handler raises `RefusedError` to say no.

        anyone: also where only invited peers are dealt with.
        """
        await self._register(name, _Service(handler, None, limit_bytes, purpose or name, anyone))

    async def receive(self, name: str, receiver: Receiver, *, limit_bytes: int, purpose: str | None = None) -> None:
        """Take one-way messages of at most `limit_bytes` to `name`; in order within a channel."""
        await self._register(name, _Service(None, receiver, limit_bytes, purpose or name))

    async def call(
        self,
        peer_id: str,
        name: str,
        *request: Buffer,
        timeout_seconds: float,
        limit_bytes: int,
        purpose: str | None = None,
    ) -> bytearray:
        """The answer of `peer_id`, of at most `limit_bytes`. PeerError: see `cause`."""
        with failures(peer_id, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                conversation = await self.converse(peer_id, name, timeout_seconds=timeout_seconds, purpose=purpose)
                try:
                    return await conversation.ask(*request, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes)
                finally:
                    conversation.close()

    async def converse(
        self, peer_id: str, name: str, *, timeout_seconds: float = 10.0, purpose: str | None = None
    ) -> Conversation:
        """A stream to the handler `name` of `peer_id`, for several requests. PeerError where it cannot be opened."""
        with failures(peer_id, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                pipe = await self._pipe(peer_id, name)
        return Conversation(pipe, self._traffic, purpose or name)

    async def open(
        self, peer_id: str, name: str, *, timeout_seconds: float = 10.0, purpose: str | None = None
    ) -> Channel:
        """A one-way channel to the receiver `name` of `peer_id`. PeerError where it cannot be opened."""
        with failures(peer_id, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                pipe = await self._pipe(peer_id, name)
        return Channel(pipe, self._traffic, purpose or name)

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()

    async def _pipe(self, peer_id: str, name: str) -> Pipe:
        pipe = await open_stream(self._control, peer_id, self._prefix + name)
        pipe.caps = self._caps
        return pipe

    async def _register(self, name: str, service: _Service) -> None:
        assert name not in self._services, f"{name} is registered already"
        self._services[name] = service
        assert self._listener is not None, "attach comes first"
        await self._listener.register(self._prefix + name)

    async def _serve(self, pipe: Pipe, protocol: str) -> None:
        service = self._services[protocol.removeprefix(self._prefix)]
        if self._open[pipe.peer_id] >= STREAMS_PER_PEER:
            self.rejected["streams"] += 1
            return
        self._open[pipe.peer_id] += 1
        pipe.caps = self._caps
        try:
            if service.handler is not None:
                await self._answer(pipe, service, service.handler)
            elif service.receiver is not None:
                await self._receive(pipe, service, service.receiver)
        except TimeoutError:
            self.rejected["stalled"] += 1
        finally:
            self._open[pipe.peer_id] -= 1
            if not self._open[pipe.peer_id]:
                del self._open[pipe.peer_id]

    async def _receive(self, pipe: Pipe, service: _Service, receiver: Receiver) -> None:
        """The messages of a channel, one by one, until its sender ends it."""
        while (header := await self._header(pipe, IDLE_SECONDS)) != END:
            if await self._refusal(pipe.peer_id, service) is not None:
                return
            async with self._message(pipe, service, header) as message:
                await receiver(pipe.peer_id, message)
        await pipe.write(b"\0")
        async with asyncio.timeout(STALL_SECONDS):
            await pipe.finish()

    async def _refusal(self, peer_id: str, service: _Service) -> str | None:
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
    async def _message(self, pipe: Pipe, service: _Service, header: bytearray) -> AsyncIterator[bytearray]:
        """One frame; counted against what may be held at once until its consumer is done with it."""
        (size,) = LENGTH.unpack(header)
        if size > service.limit_bytes or self._inbound_bytes + size > MAX_INBOUND_BYTES:
            self.rejected["size" if size > service.limit_bytes else "busy"] += 1
            raise EOFError(f"a message of {size} bytes")
        self._inbound_bytes += size
        try:
            async with asyncio.timeout(STALL_SECONDS + size / SLOWEST_BYTES_PER_SECOND):
                message = await pipe.read(size)
            self._traffic.add("received", service.purpose, LENGTH.size + size)
            yield message
        finally:
            self._inbound_bytes -= size

    async def _answer(self, pipe: Pipe, service: _Service, handler: Handler) -> None:
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
        self, peer_id: str, service: _Service, handler: Handler, request: bytearray
    ) -> tuple[int, Buffer]:
        """Status and answer."""
        try:
            if (why := await self._refusal(peer_id, service)) is not None:
                raise RefusedError(why)
            return OK, await handler(peer_id, request)
        except RefusedError as refusal:
            return REFUSED, str(refusal).encode("utf-8")[:MAX_REFUSAL]
        except Exception:  # a bug in a handler must not look like a dead peer
            logger.exception("the handler of %s failed", service.purpose)
            return REFUSED, b"the handler failed"

    async def _give(self, pipe: Pipe, service: _Service, status: int, answer: Buffer) -> None:
        if self._outbound_bytes + len(answer) > MAX_OUTBOUND_BYTES:
            self.rejected["busy"] += 1
            status, answer = REFUSED, b"too many ask at once; try again later"
        self._outbound_bytes += len(answer)
        try:
            async with asyncio.timeout(STALL_SECONDS + len(answer) / SLOWEST_BYTES_PER_SECOND):
                await pipe.write(ANSWER.pack(status, len(answer)), answer)
                self._traffic.add("sent", service.purpose, ANSWER.size + len(answer))
        finally:
            self._outbound_bytes -= len(answer)
