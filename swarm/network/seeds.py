"""Getting in: which seeds answer, and for each that does not, why."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from swarm.address import AddressError, check_dialable
from swarm.errors import LinkError, NetworkError, ResourceError
from swarm.network.causes import dial_cause
from swarm.network.pipe import DaemonError
from swarm.network.pipe import dial as dial_peer

DIAL_SECONDS = 10.0
GRACE_SECONDS = 2.0  # for each further seed, once one has answered


def check_seeds(addresses: Sequence[str]) -> None:
    """LinkError for the first address that is malformed."""
    for address in addresses:
        try:
            check_dialable(address)
        except AddressError as error:
            raise LinkError(f"the seed {address[:80]!r} {error}; ask for the link again") from None


async def dial_seeds(control: str, addresses: Sequence[str], own_id: str) -> list[str]:
    """Dial all seeds at once; those that answered, without waiting long for others once one has.

    NetworkError with each one's cause where none did.
    """
    others = _by_peer([address for address in addresses if peer_id_in(address) != own_id])
    dials = {asyncio.ensure_future(_dial(control, peer_id, mine)) for peer_id, mine in others.items()}
    causes: dict[str, str | None] = {}
    try:
        while dials:
            patience = GRACE_SECONDS if None in causes.values() else None
            done, dials = await asyncio.wait(dials, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for dial in done:
                causes |= dial.result()
            if not done:
                break
    finally:
        for dial in dials:
            dial.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
    reached = [address for address in addresses if causes.get(address, "") is None]
    if causes and not reached:
        told = "; ".join(f"{address}: {causes[address]}" for address in addresses if address in causes)
        raise NetworkError(f"no seed of the run answers ({told}); check your connection or ask for a newer link")
    return reached


async def dial_all(control: str, addresses: Sequence[str]) -> dict[str, str | None]:
    """Each address with the cause of its failure, or None where its peer was reached."""
    causes = await asyncio.gather(*(_dial(control, peer_id, mine) for peer_id, mine in _by_peer(addresses).items()))
    return {address: cause for found in causes for address, cause in found.items()}


def _by_peer(addresses: Sequence[str]) -> dict[str, list[str]]:
    """For one dial a peer: the daemon answers simultaneous dials to one with each other's errors."""
    by_peer: dict[str, list[str]] = {}
    for address in dict.fromkeys(addresses):
        by_peer.setdefault(peer_id_in(address), []).append(address)
    return by_peer


async def _dial(control: str, peer_id: str, addresses: list[str]) -> dict[str, str | None]:
    hosts = {address: address.rpartition("/p2p/")[0] for address in addresses}
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            await dial_peer(control, peer_id, list(hosts.values()))
    except TimeoutError:
        return dict.fromkeys(addresses, f"no answer within {DIAL_SECONDS:.0f} s")
    except (DaemonError, OSError) as error:
        said = str(error)
        return {address: dial_cause(_about(host, said)) for address, host in hosts.items()}
    return dict.fromkeys(addresses)


def _about(host: str, said: str) -> str:
    """The line about one address of what the daemon said about all of a peer's; all of it where there is none."""
    return next((line for line in said.splitlines() if f"[{host}]" in line), said)


def peer_id_in(address: str) -> str:
    """The peer id at the end of a dialable address."""
    return address.rpartition("/p2p/")[2]


def check_ports(listen: Sequence[str], actual: Sequence[str]) -> None:
    """ResourceError where one of several addresses to listen on was left out: the daemon fails only if all are."""
    for address in listen:
        port = re.search(r"/(?:tcp|udp)/[0-9]+", address)
        if port and not port.group().endswith("/0") and not any(port.group() + "/" in mine for mine in actual):
            raise ResourceError(f"the port of {address} is taken; end the other process or use --listen")


def join_failure(error: Exception, reached: Sequence[str]) -> NetworkError:
    """What hivemind's DHT said when it could not join, in our words."""
    said = " ".join(str(error).split())[:200]
    if "local time must be within" in said:
        remedy = "set it: sudo timedatectl set-ntp true"
        return NetworkError(f"this machine's clock is more than 3 s off that of the seed; {remedy}")
    if "can't access this node" in said:
        return NetworkError("the seed cannot dial this machine (NAT or firewall); use --client, or forward the port")
    told = ", ".join(reached)
    return NetworkError(f"{told}: reached, but it is no peer of a run ({said or type(error).__name__}); ask for a link")
