"""TCP between peers of one network: what such an address is, and sockets there. See `Direct`."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from swarm.address import host_of

LOWEST_PORT = 1024  # below are other people's services
CONNECT_SECONDS = 2.0
SILENT_SECONDS, UNREAD_SECONDS = 30, 60  # a host that says nothing, or takes nothing, for so long is gone


def listening_host(listen: Sequence[str]) -> str | None:
    """The IP address of the first of these multiaddresses that has one: where the daemon listens, we do."""
    return next(filter(None, map(host_of, listen)), None)


def near_hosts(places: Sequence[str]) -> list[str]:
    """The hosts of those addresses that do not lead through the internet."""
    hosts = dict.fromkeys(host for place in places if (host := host_of(place)) is not None)
    return [host for host in hosts if is_near(host)]


def is_near(host: str) -> bool:
    """Whether an address is not of the internet."""
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return False


def listening(host: str, backlog: int) -> socket.socket:
    """A listener on a free port of this IP address. OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((host, 0))
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def connected(hosts: Sequence[str], port: int) -> socket.socket:
    """A connection to the first of two hosts that answers. OSError."""
    if port < LOWEST_PORT:
        raise OSError(f"port {port} is another service's")
    failure: OSError = OSError("no address")
    for host in hosts[:2]:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
            watched(sock)
        except OSError as error:  # TimeoutError is one
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def watched(sock: socket.socket) -> None:
    """Small frames leave at once, and a host that has vanished without a word ends the connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENT_SECONDS // 2),
        ("TCP_KEEPINTVL", SILENT_SECONDS // 6),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 1000 * UNREAD_SECONDS),
    ):
        if hasattr(socket, name):  # each system has some of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
