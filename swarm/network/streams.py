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
from collections import Counter
from collections.abc import Callable

from swarm.network.allowance import Allowance
from swarm.network.book import AddressBook
from swarm.network.caps import UNCAPPED, Caps
from swarm.network.causes import NOT_SERVED, UNKNOWN, dial_cause
from swarm.network.conversations import LENGTH, Conversation
from swarm.network.direct import Direct
from swarm.network.failure import PeerError, RefusedError, failures
from swarm.network.pipe import Buffer, DaemonError, Listener, Pipe, open_stream
from swarm.network.serving import END, Handler, Receiver, Service, Serving, usual
from swarm.network.traffic import Traffic

__all__ = ["Channel", "Conversation", "Handler", "PeerError", "Receiver", "RefusedError", "Streams"]


class Channel:
    """One-way, ordered messages to one handler of one peer. Not acknowledged until `close`.

    stalled: told of a peer that did not take a message in time.
    """

    def __init__(
        self, pipe: Pipe, traffic: Traffic, purpose: str, stalled: Callable[[str], None] | None = None
    ) -> None:
        self._pipe = pipe
        self._traffic = traffic
        self._purpose = purpose
        self._stalled = stalled
        self._turn = asyncio.Lock()

    async def send(self, *parts: Buffer, timeout_seconds: float = 60.0) -> None:
        """One message made of `parts`, which are not copied. PeerError where the stream broke."""
        size = sum(map(len, parts))
        with failures(self._pipe.peer_id, timeout_seconds):
            try:
                async with asyncio.timeout(timeout_seconds), self._turn:
                    await self._pipe.write(LENGTH.pack(size), *parts)
            except TimeoutError:
                if self._stalled is not None:
                    self._stalled(self._pipe.peer_id)
                raise
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
        self._services: dict[str, Service] = {}
        self._control = ""
        self.book = AddressBook()
        self._listener: Listener | None = None
        self.serving = Serving(traffic)
        self.direct: Direct | None = None  # None: the daemon carries everything

    @property
    def rejected(self) -> Counter[str]:
        """What strangers did wrong, by reason."""
        return self.serving.rejected

    async def attach(self, control: str, listen_path: str) -> None:
        """Serve through a daemon: the first one, or the one that took the place of one that died."""
        await self.close()
        self._control = control
        self._listener = Listener(control, listen_path, self._serve)
        self._listener.start()
        for name in self._services:
            await self._listener.register(self._prefix + name)

    async def handle(
        self,
        name: str,
        handler: Handler,
        *,
        limit_bytes: int,
        purpose: str | None = None,
        anyone: bool = False,
        allowance: Allowance | None = None,
    ) -> None:
        """Answer requests of at most `limit_bytes` to `name`. A handler raises `RefusedError` to say no.

        anyone: also where only invited peers are dealt with. allowance: bytes of answers, where they are not few.
        """
        allowed = allowance or usual()
        await self._register(name, Service(handler, None, limit_bytes, purpose or name, anyone, allowed))

    async def receive(
        self, name: str, receiver: Receiver, *, limit_bytes: int, purpose: str | None = None, direct: bool = False
    ) -> None:
        """Take one-way messages of at most `limit_bytes` to `name`; in order within a channel.

        direct: peers of the same network may come without the daemon (see `Direct`).
        """
        if direct and self.direct is not None:
            self.direct.names.add(name)
        await self._register(name, Service(None, receiver, limit_bytes, purpose or name))

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

    async def open_direct(self, peer_id: str, name: str, *, purpose: str | None = None) -> Channel | None:
        """The same without the daemon; None where that is not to be had. It takes some seconds at most."""
        pipe = await self.direct.open(peer_id, name) if self.direct is not None else None
        if pipe is None or self.direct is None:
            return None
        return Channel(pipe, self._traffic, purpose or name, stalled=self.direct.avoid)

    async def close(self) -> None:
        if self.direct is not None:
            await self.direct.close()
        if self._listener is not None:
            await self._listener.close()

    async def _pipe(self, peer_id: str, name: str) -> Pipe:
        try:
            pipe = await open_stream(self._control, peer_id, self._prefix + name)
        except DaemonError as error:
            await self._dial(peer_id, error)
            pipe = await open_stream(self._control, peer_id, self._prefix + name)
        pipe.caps = self._caps
        return pipe

    async def _dial(self, peer_id: str, error: DaemonError) -> None:
        """Reach a peer where its record says it is; `error` is why it was not reached, raised where this fails too."""
        cause = dial_cause(str(error))
        try:
            if cause == NOT_SERVED or not await self.book.dial(self._control, peer_id):
                raise error
        except DaemonError as again:
            raise again if cause == UNKNOWN else error from None

    async def _register(self, name: str, service: Service) -> None:
        assert name not in self._services, f"{name} is registered already"
        self._services[name] = service
        assert self._listener is not None, "attach comes first"
        await self._listener.register(self._prefix + name)

    async def serve(self, pipe: Pipe, name: str) -> None:
        """Let the service `name` deal with a stream, until that is over."""
        pipe.caps = self._caps
        await self.serving.serve(pipe, self._services[name])

    async def _serve(self, pipe: Pipe, protocol: str) -> None:
        await self.serve(pipe, protocol.removeprefix(self._prefix))
