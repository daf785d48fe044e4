"""Connections of our own between peers of one network, beside the daemon's: for gradients by the megabyte.

hivemind's daemon reaches anybody, and moves 0.3 GB/s in all of two cores: on a line of the internet that is plenty, on
one machine or in one room it is the whole time of a round. So two peers whose daemons see each other at an address
that is not of the internet (loopback, a local network, a private overlay) agree over the daemon's authenticated and
encrypted stream on a key, and speak on TCP (`sealed`). Where that does not come about the daemon carries it.

    request (over the daemon)     name of a receiver
    response                      TCP port (2 bytes, big-endian) | key (32)
    connection to that port       the key's ticket (16), then sealed frames each way

The key says who the other end is, since nobody else was given it. Nobody is dialled but at the address to which the
daemon has a connection with the very peer, at no port of other people's services, and what is said there first, the
ticket, is a digest that the peer cannot choose: so nobody can make others talk to a program that is not a peer. A port
is opened for the first one who asks, and who comes to it without a ticket, or from the internet, gets nothing. Whoever
caps their line stays with the daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hivemind.p2p.p2p_daemon_bindings.utils import ControlFailure

from swarm.network.failure import PeerError, RefusedError
from swarm.network.near import connected, is_near, listening, near_hosts, watched
from swarm.network.pipe import ACCEPT_SECONDS, Pipe
from swarm.network.sealed import KEY_BYTES, SealedPipe

HANDLER = "direct"
TICKET_BYTES = 16
OFFER = struct.Struct(f">H{KEY_BYTES}s")
NAME_BYTES = 64
MOST_OFFERS, OFFERS_PER_PEER = 256, 4  # not taken up yet
MOST_ARRIVALS = 64  # connections that have not said a ticket yet
OFFER_SECONDS = 10.0
ASK_SECONDS = 5.0
AGAIN_SECONDS = 300.0  # before a peer is tried again that could not be reached, or did not read what was sent
REMEMBERED = 1024  # peers of which that is known
GONE = ("unreachable", "closed")  # such a peer may come back, and is tried again at once

Connections = Callable[[], Awaitable[Sequence[tuple[str, str]]]]
Accept = Callable[[Pipe, str], Awaitable[None]]  # until the stream is over


class Ask(Protocol):
    """`Streams.call`."""

    def __call__(
        self, peer_id: str, name: str, *request: bytes, timeout_seconds: float, limit_bytes: int
    ) -> Awaitable[bytearray]: ...


@dataclass(frozen=True)
class Offer:
    """A connection that `peer_id` may make."""

    peer_id: str
    name: str
    key: bytes
    until: float


class Direct:
    """In the network's loop. connections(): (peer id, its multiaddress) of the daemon's. accept: serves one stream."""

    def __init__(self, connections: Connections, ask: Ask, accept: Accept, rejected: Counter[str]) -> None:
        self._connections, self._ask, self._accept, self._rejected = connections, ask, accept, rejected
        self.names: set[str] = set()  # receivers that may be reached in this way
        self.host: str | None = None  # where to listen; None: nowhere
        self.opened = self.accepted = 0
        self._offers: dict[bytes, Offer] = {}
        self._not_before: dict[str, float] = {}
        self._listener: socket.socket | None = None
        self._arrivals = 0
        self._pipes: tuple[SealedPipe, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- asking ------------------------------------------------------------------------------------------------------

    async def open(self, peer_id: str, name: str) -> Pipe | None:
        """A stream to the receiver `name` of `peer_id`; None where it is for the daemon."""
        if time.monotonic() < self._not_before.get(peer_id, 0.0):
            return None
        places = await self._places(peer_id)
        if places and not near_hosts(places):
            return None
        try:
            answer = await self._ask(
                peer_id, HANDLER, name.encode(), timeout_seconds=ASK_SECONDS, limit_bytes=OFFER.size
            )
            port, key = OFFER.unpack(answer)
            hosts = near_hosts(places or await self._places(peer_id))  # by asking, the daemon has connected to it
            sock = await connected(hosts, port)
        except (PeerError, OSError, struct.error) as error:
            if not (isinstance(error, PeerError) and error.cause in GONE):
                self.avoid(peer_id)
            return None
        pipe = SealedPipe(sock, peer_id, key, asked=True)
        try:
            await asyncio.get_running_loop().sock_sendall(sock, _ticket(key))
        except BaseException as error:
            pipe.close()
            if isinstance(error, OSError):
                self.avoid(peer_id)
                return None
            raise
        self.opened += 1
        self._pipes = (*(other for other in self._pipes if other.is_open), pipe)
        return pipe

    def peers(self) -> list[str]:
        """Those to which a connection of ours is open; in any thread."""
        return sorted({pipe.peer_id for pipe in self._pipes if pipe.is_open})

    def avoid(self, peer_id: str) -> None:
        """Leave this peer to the daemon for a while."""
        now = time.monotonic()
        self._not_before = {peer: until for peer, until in self._not_before.items() if until > now}
        if len(self._not_before) < REMEMBERED:
            self._not_before[peer_id] = now + AGAIN_SECONDS

    async def _places(self, peer_id: str) -> list[str]:
        """Where the daemon has connections to this peer."""
        try:
            return [place for peer, place in await self._connections() if peer == peer_id]
        except (OSError, EOFError, ControlFailure):
            return []  # the daemon is gone: that is for whoever uses it to say

    # --- answering ---------------------------------------------------------------------------------------------------

    async def answer(self, peer_id: str, request: bytearray) -> bytes:
        """The handler. A peer that is not near, or asks for what is not to be had, is refused."""
        name = request.decode("ascii", "replace")
        if self.host is None or name not in self.names:
            raise RefusedError("not to be had directly")
        if not near_hosts(await self._places(peer_id)):
            raise RefusedError("you are not in the same network")
        now = time.monotonic()
        self._offers = {ticket: offer for ticket, offer in self._offers.items() if offer.until > now}
        own = sum(offer.peer_id == peer_id for offer in self._offers.values())
        if len(self._offers) >= MOST_OFFERS or own >= OFFERS_PER_PEER:
            raise RefusedError("asked too often; use what was offered")
        key, port = secrets.token_bytes(KEY_BYTES), self._listen(self.host)
        self._offers[_ticket(key)] = Offer(peer_id, name, key, now + OFFER_SECONDS)
        return OFFER.pack(port, key)

    def _listen(self, host: str) -> int:
        """The port on which connections are taken, opened for the first offer."""
        if self._listener is None:
            try:
                self._listener = listening(host, MOST_ARRIVALS)
            except OSError:
                raise RefusedError("no port to be had") from None
            self._spawn(self._take(self._listener))
        return int(self._listener.getsockname()[1])

    async def _take(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, (host, *_) = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(ACCEPT_SECONDS)
                continue
            if self._arrivals >= MOST_ARRIVALS or not is_near(host):
                self._rejected["stranger"] += 1
                sock.close()
                continue
            self._arrivals += 1
            self._spawn(self._welcome(sock))

    async def _welcome(self, sock: socket.socket) -> None:
        """Serve whoever has a ticket until the stream is over."""
        try:
            offer = await self._redeemed(sock)
            if offer is None:
                self._rejected["stranger"] += 1
                return
            watched(sock)
            self.accepted += 1
            await self._accept(SealedPipe(sock, offer.peer_id, offer.key, asked=False), offer.name)
        except (OSError, EOFError):
            return  # the other end went away; whoever waits for it has its own deadline
        finally:
            sock.close()

    async def _redeemed(self, sock: socket.socket) -> Offer | None:
        """The offer whose ticket comes first on a new connection."""
        try:
            sock.setblocking(False)
            async with asyncio.timeout(OFFER_SECONDS):
                ticket = bytes(await Pipe(sock).read(TICKET_BYTES))
        except (OSError, EOFError, TimeoutError):
            return None
        finally:
            self._arrivals -= 1
        offer = self._offers.pop(ticket, None)
        return offer if offer is not None and time.monotonic() < offer.until else None

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what others have opened, and the port. May be used again."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._offers.clear()
        self._not_before.clear()
        self._arrivals = 0


def _ticket(key: bytes) -> bytes:
    """What is said in the clear to be let in; nothing of the key can be told from it."""
    return hashlib.sha256(b"bloomswarm direct 1\n" + key).digest()[:TICKET_BYTES]
