"""Where peers say they are. The daemon's own routing finds a peer by asking others, and not always.

A peer that has just come, or a seed whose table is full of peers that are dead, and it answers "not found" for minutes,
while the signed record of the very peer names its addresses. So whom it does not reach is dialled by its record.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from swarm.address import doors_of
from swarm.network.pipe import dial

MOST_PEERS = 4096
DIAL_SECONDS = 5.0


class AddressBook:
    def __init__(self) -> None:
        self._said: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._dials: dict[str, asyncio.Future[None]] = {}

    def note(self, peer_id: str, addresses: Sequence[str]) -> None:
        """What `peer_id` itself has signed; from any thread. What cannot be its address is left out when it is used."""
        if not addresses:
            return
        self._said.pop(peer_id, None)  # to the end
        self._said[peer_id] = tuple(addresses)
        while len(self._said) > MOST_PEERS:
            self._said.popitem(last=False)

    async def dial(self, control: str, peer_id: str) -> bool:
        """Connect the daemon to `peer_id`; False where nothing is known of it. DaemonError, TimeoutError.

        The daemon answers simultaneous dials of one peer with each other's errors: there is one at a time.
        """
        known = [door.rpartition("/p2p/")[0] for door in doors_of(peer_id, self._said.get(peer_id, ()))]
        if not known:
            return False
        if peer_id not in self._dials:
            self._dials[peer_id] = asyncio.ensure_future(_dial(control, peer_id, known))
            self._dials[peer_id].add_done_callback(lambda dial: self._over(peer_id, dial))
        await asyncio.shield(self._dials[peer_id])
        return True

    def _over(self, peer_id: str, dial: asyncio.Future[None]) -> None:
        del self._dials[peer_id]
        if not dial.cancelled():
            dial.exception()  # whoever waited has it, if anybody still did


async def _dial(control: str, peer_id: str, addresses: list[str]) -> None:
    async with asyncio.timeout(DIAL_SECONDS):
        await dial(control, peer_id, addresses)
