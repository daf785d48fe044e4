"""Can a peer be dialled from outside? Others try, and say what they found.

Whoever is asked dials only the address from which the asker is connected (as AutoNAT of libp2p does): so nobody can
make others dial a third machine, and a private address is dialled only for one who came from it. The dial is a plain
one with libp2p's greeting: our daemon has a connection to the asker already and would not make a second.

    request     JSON: a list of at most 4 TCP ports
    response    JSON: {"seen": the asker's IP address, "ports": {"4001": null, or why it could not be dialled}}
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from swarm.address import host_of
from swarm.network.allowance import Allowance
from swarm.network.near import LOWEST_PORT
from swarm.network.streams import PeerError, RefusedError, Streams

HANDLER = "reach"
MOST_PORTS = 4
LIMIT_BYTES = 1024
EACH_DIALS, TOTAL_DIALS, WINDOW_SECONDS = 8, 60, 60.0
DIAL_SECONDS = 5.0
GREETING = b"\x13/multistream/1.0.0\n"


@dataclass(frozen=True)
class Outside:
    """What `peer_id` found: our address as it sees it, and each port with why it cannot be dialled, or None."""

    peer_id: str
    seen: str
    ports: dict[int, str | None]

    @property
    def private(self) -> bool:
        """Whether it sees us on a network that is not the internet."""
        return not ipaddress.ip_address(self.seen).is_global

    @property
    def reached(self) -> bool:
        return any(cause is None for cause in self.ports.values())


class Reach:
    """The answering side. connections(): (peer id, multiaddress it came from) of every open connection."""

    def __init__(self, connections: Callable[[], Awaitable[Sequence[tuple[str, str]]]]) -> None:
        self.connections = connections
        self.allowance = Allowance(EACH_DIALS, TOTAL_DIALS, WINDOW_SECONDS)

    async def answer(self, peer_id: str, request: bytearray) -> bytes:
        ports = _ports(request)
        seen = next(filter(None, [host_of(place) for peer, place in await self.connections() if peer == peer_id]), None)
        if seen is None:
            raise RefusedError("you came through a relay: nothing to dial")
        if not self.allowance.take(peer_id, len(ports)):
            raise RefusedError("asked too often; ask again in a minute")
        causes = await asyncio.gather(*(_dial(seen, port) for port in ports))
        return json.dumps({"seen": seen, "ports": dict(zip(map(str, ports), causes, strict=True))}).encode()


async def ask_outside(streams: Streams, peer_id: str, ports: Sequence[int]) -> Outside:
    """Let `peer_id` try `ports` of this machine. PeerError where it does not answer as it should."""
    wanted = [port for port in ports if port >= LOWEST_PORT][:MOST_PORTS]
    answer = await streams.call(
        peer_id,
        HANDLER,
        json.dumps(wanted).encode(),
        timeout_seconds=DIAL_SECONDS + 10.0,
        limit_bytes=LIMIT_BYTES,
    )
    try:
        value = json.loads(bytes(answer))
        seen, told = str(ipaddress.ip_address(value["seen"])), value["ports"]
        return Outside(peer_id, seen, {port: _cause(told[str(port)]) for port in wanted})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise PeerError(peer_id, "refused", "a malformed answer") from None


def _ports(request: bytearray) -> list[int]:
    try:
        ports = json.loads(bytes(request))
    except (ValueError, RecursionError):
        raise RefusedError("a malformed request") from None
    good = isinstance(ports, list) and 1 <= len(ports) <= MOST_PORTS
    if not good or not all(type(port) is int and LOWEST_PORT <= port <= 65_535 for port in ports):
        raise RefusedError(f"wanted are 1 to {MOST_PORTS} ports from {LOWEST_PORT}")
    return list(dict.fromkeys(ports))


def _cause(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("not a cause")
    return None if value is None else "".join(filter(str.isprintable, value))[:100]


async def _dial(host: str, port: int) -> str | None:
    """Why nothing of libp2p answers there; None where it does."""
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, limit=1024)
            try:
                writer.write(GREETING)
                said = await reader.readexactly(len(GREETING))
            finally:
                writer.close()
    except TimeoutError:
        return "no answer (timed out)"
    except ConnectionRefusedError:
        return "connection refused"
    except (OSError, EOFError) as error:
        return (getattr(error, "strerror", None) or "it hung up").lower()
    return None if said == GREETING else "another program answers there"
