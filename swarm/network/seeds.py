"""Getting in: which seeds answer, and for each that does not, why."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from swarm.address import AddressError, check_dialable
from swarm.errors import LinkError, NetworkError, ResourceError
from swarm.network.pipe import DaemonError, dial
from swarm.network.streams import dial_cause

DIAL_SECONDS = 10.0


def check_seeds(addresses: Sequence[str]) -> None:
    """LinkError for the first address that is malformed."""
    for address in addresses:
        try:
            check_dialable(address)
        except AddressError as error:
            raise LinkError(f"the seed {address[:80]!r} {error}; ask for the link again") from None


async def dial_seeds(control: str, addresses: Sequence[str], own_id: str) -> list[str]:
    """Dial all seeds at once; those that answered. NetworkError with each one's cause where none did."""
    addresses = [address for address in addresses if peer_id_in(address) != own_id]
    causes = await asyncio.gather(*(_dial(control, address) for address in addresses))
    reached = [address for address, cause in zip(addresses, causes) if cause is None]
    if addresses and not reached:
        told = "; ".join(f"{address}: {cause}" for address, cause in zip(addresses, causes))
        raise NetworkError(f"no seed of the run answers ({told}); check your connection or ask for a newer link")
    return reached


async def _dial(control: str, address: str) -> str | None:
    """None where the peer was reached, else the cause."""
    host, _, peer_id = address.rpartition("/p2p/")
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            await dial(control, peer_id, [host])
    except TimeoutError:
        return f"no answer within {DIAL_SECONDS:.0f} s"
    except (DaemonError, OSError) as error:
        return dial_cause(str(error))
    return None


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
        return NetworkError("this machine's clock is more than 3 s off that of the seed; set it (ntp) and try again")
    if "can't access this node" in said:
        return NetworkError("the seed cannot dial this machine (NAT or firewall); use --client, or forward the port")
    told = ", ".join(reached)
    return NetworkError(f"{told}: reached, but it is no peer of a run ({said or type(error).__name__}); ask for a link")
