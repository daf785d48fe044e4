"""Getting into a run's network: as a full peer where others can dial this machine, else as one that only dials out.

In client mode a peer takes part at full value: it reaches the reducers, and what they send comes back on the way that
it opened. It carries no span for others, hosts no round, and keeps no records for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.run.link import Link

PORT = 31337
REMEDY = f"To carry spans for others too, forward TCP port {PORT} to it and join with --listen /ip4/0.0.0.0/tcp/{PORT}."


@contextmanager
def entered(make: Callable[[bool], Network], link: Link, say: Callable[[str], None]) -> Iterator[Network]:
    """make(client): a network that is not started yet. The network, started; closed at the end."""
    network = make(False).start()
    try:
        if not network.client and (why := closed_door(network, link)) is not None:
            network.close()
            network = make(True).start()
            say(f"{why[0].upper()}{why[1:]}: it takes part in client mode, at full value. {REMEDY}")
        yield network
    finally:
        network.close()


def closed_door(network: Network, link: Link) -> str | None:
    """Why nobody can dial this machine, as up to two peers found; None where somebody can, or nobody answered."""
    from peers.finding.visit import others, seen_from, undialled
    from peers.telling.progress import read_progress

    return undialled(seen_from(network, others(network, link, read_progress(network))))
