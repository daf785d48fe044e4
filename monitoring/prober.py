"""Dial peers from outside: can they be reached, how long does it take, what do they serve? A process of its own.

    python -m monitoring.prober /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW...     one JSON line for each address
    python -m monitoring.prober --follow                                      addresses on standard input, one a line

Apart from the peer's process, because hivemind and libp2p cannot be imported into one, and because it reads strangers'
bytes. Addresses come from strangers too: at most `--rate` dials a second, and none into private networks or this
machine unless `--private` says so, or a record could make us scan somebody's home.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass

from swarm.address import AddressError, check_dialable

CONNECT_SECONDS, ASK_SECONDS = 10.0, 5.0
RATE, AT_ONCE = 5.0, 16
MAX_LINE = 400
MAX_IDENTIFY = 65_536
MAX_PROTOCOLS = 64
PING_BYTES = 32


@dataclass(frozen=True)
class Probe:
    """result: reachable | relayed | unreachable | skipped. why: for the last two. Seconds: of connecting, of a ping.

    protocols: what it says it serves, so its role; cut and printable, but a stranger's words.
    """

    address: str
    peer_id: str
    result: str
    why: str = ""
    seconds: float = 0.0
    connect_seconds: float | None = None
    ping_seconds: float | None = None
    agent: str = ""
    protocols: tuple[str, ...] = ()


def reason_to_skip(address: str, private: bool) -> str | None:
    """Why this address is not dialled, or None."""
    try:
        check_dialable(address)
    except AddressError as error:
        return f"the address {error}"
    _, kind, host, *_ = address.split("/")
    if not kind.startswith("ip"):
        return None if private else _names_inside(host)
    return None if private or _is_outside(host) else "a private or loopback address"


def _is_outside(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.is_global and not address.is_multicast


def _names_inside(host: str) -> str | None:
    """A name may point anywhere: every address it has must be a public one."""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return "the name is unknown"
    inside = not all(_is_outside(str(each)) for each in found)
    return "a name of a private or loopback address" if inside else None


async def probe(host: object, address: str, private: bool) -> Probe:
    """One address. Never raises for what the other side does: whatever goes wrong there is a result."""
    import trio

    peer = address.rsplit("/", 1)[-1]
    began = time.perf_counter()
    skip = await trio.to_thread.run_sync(reason_to_skip, address, private)
    if skip is not None:
        return Probe(address[:MAX_LINE], peer[:64], "skipped", skip)
    try:
        with trio.fail_after(CONNECT_SECONDS + ASK_SECONDS):
            found = await _ask(host, address)
    except trio.TooSlowError:
        return Probe(address, peer, "unreachable", "no answer in time", time.perf_counter() - began)
    except Exception as error:  # py-libp2p raises many kinds, for anything that a stranger sends
        return Probe(address, peer, "unreachable", _printable(str(error) or type(error).__name__, 200),
                     time.perf_counter() - began)  # fmt: skip
    return Probe(address, peer, "relayed" if "/p2p-circuit" in address else "reachable", "",
                 time.perf_counter() - began, **found)  # fmt: skip


async def _ask(host: object, address: str) -> dict:
    """Connect, ping, identify."""
    import multiaddr
    import trio
    from libp2p.peer.peerinfo import info_from_p2p_addr

    info = info_from_p2p_addr(multiaddr.Multiaddr(address))
    _forget(host, info.peer_id)
    began = time.perf_counter()
    with trio.fail_after(CONNECT_SECONDS):
        await host.connect(info)  # type: ignore[attr-defined]
    connected = time.perf_counter() - began
    try:
        ping = await _ping(host, info.peer_id)
        agent, protocols = await _identify(host, info.peer_id)
    finally:
        await host.disconnect(info.peer_id)  # type: ignore[attr-defined]
    return {"connect_seconds": connected, "ping_seconds": ping, "agent": agent, "protocols": protocols}


def _forget(host: object, peer_id: object) -> None:
    """So that this address is dialled, and no other.

    py-libp2p keeps those of before, takes up what the peer itself lists, which may point anywhere, and refuses for a
    minute to dial a peer that it could not reach.
    """
    network = host.get_network()  # type: ignore[attr-defined]
    network.peerstore.clear_addrs(peer_id)
    failed = getattr(network, "_negative_peer_cache", None)  # no public way to it
    if failed is not None:
        failed.evict(str(peer_id))


async def _ping(host: object, peer_id: object) -> float:
    """Seconds for 32 bytes there and back: https://github.com/libp2p/specs/blob/master/ping/ping.md"""
    import os

    import trio

    stream = await host.new_stream(peer_id, ["/ipfs/ping/1.0.0"])  # type: ignore[attr-defined]
    payload, received = os.urandom(PING_BYTES), b""
    began = time.perf_counter()
    with trio.fail_after(ASK_SECONDS):
        await stream.write(payload)
        while len(received) < PING_BYTES and (part := await stream.read(PING_BYTES - len(received))):
            received += part
    took = time.perf_counter() - began
    await stream.close()
    if received != payload:
        raise ValueError("the ping came back changed")
    return took


async def _identify(host: object, peer_id: object) -> tuple[str, tuple[str, ...]]:
    """Agent and protocols served: https://github.com/libp2p/specs/blob/master/identify/README.md"""
    import trio
    from libp2p.identity.identify.identify import parse_identify_response
    from libp2p.network.stream.exceptions import StreamEOF

    stream = await host.new_stream(peer_id, ["/ipfs/id/1.0.0"])  # type: ignore[attr-defined]
    data = b""
    with trio.fail_after(ASK_SECONDS), contextlib.suppress(StreamEOF):  # its way to say that this was all
        while len(data) < MAX_IDENTIFY and (part := await stream.read(MAX_IDENTIFY - len(data))):
            data += part
    await stream.close()
    answer = parse_identify_response(data)
    protocols = tuple(_printable(name, 120) for name in list(answer.protocols)[:MAX_PROTOCOLS])
    return _printable(answer.agent_version, 80), protocols


def _printable(text: str, limit: int) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:limit])


async def run(addresses: AsyncIterator[str] | Iterable[str], private: bool, rate: float) -> None:
    """Probe as they come, at a bounded rate, a few at once; one JSON line each on standard output."""
    import trio
    from libp2p import new_host

    host = new_host()
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def one(address: str) -> None:
        async with limiter:
            print(json.dumps(asdict(await probe(host, address, private))), flush=True)

    async with host.run(listen_addrs=[]), trio.open_nursery() as nursery:
        async for address in _each(addresses):
            nursery.start_soon(one, address)
            await trio.sleep(1 / rate)
            while limiter.borrowed_tokens >= AT_ONCE:
                await trio.sleep(0.05)


async def _each(addresses: AsyncIterator[str] | Iterable[str]) -> AsyncIterator[str]:
    if isinstance(addresses, AsyncIterator):
        async for address in addresses:
            yield address
    else:
        for address in addresses:
            yield address


async def from_input() -> AsyncIterator[str]:
    """Lines of standard input until it is closed."""
    import trio

    async for line in trio.wrap_file(sys.stdin):
        if text := line.strip()[: MAX_LINE + 1]:
            yield text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring.prober", description="Dial peers from outside.")
    parser.add_argument("addresses", nargs="*", metavar="MULTIADDR", help="ends in /p2p/<peer id>")
    parser.add_argument("--follow", action="store_true", help="take addresses from standard input, one a line")
    parser.add_argument("--private", action="store_true", help="dial private and loopback addresses too")
    parser.add_argument("--rate", type=float, default=RATE, help=f"dials a second  [{RATE:g}]")
    options = parser.parse_args(arguments)
    if bool(options.addresses) == options.follow or not 0 < options.rate <= 100:
        parser.error("name addresses, or --follow; the rate is above 0 and at most 100")
    logging.disable(logging.CRITICAL)  # py-libp2p logs tracebacks for what strangers send
    for name in ("rich", "pygments"):  # for httpx's command line, which goes without where they are not there: 4 MB
        sys.modules[name] = None  # type: ignore[assignment]
    import trio

    trio.run(run, from_input() if options.follow else options.addresses, options.private, options.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
