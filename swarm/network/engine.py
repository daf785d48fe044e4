"""What lives in the network's event loop: daemon, DHT node, streams, blobs. A daemon that died is started again.

Handlers, served blobs, counters and the peer's id outlive the daemon; only sockets and the DHT's memory are new. The
new daemon listens on the ports of the old one, since others know those.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hivemind.dht import DHTNode
from hivemind.p2p import PeerID
from hivemind.utils.multiaddr import Multiaddr

from swarm.address import port_of
from swarm.errors import SwarmError
from swarm.network.blobs import Blobs
from swarm.network.caps import Caps
from swarm.network.counted import CountedP2P
from swarm.network.daemon import Daemon
from swarm.network.direct import HANDLER as DIRECT
from swarm.network.direct import NAME_BYTES, Direct
from swarm.network.directory import Directory, Validator
from swarm.network.near import listening_host
from swarm.network.reach import HANDLER as REACH
from swarm.network.reach import LIMIT_BYTES as REACH_BYTES
from swarm.network.reach import Reach
from swarm.network.seeds import check_ports, dial_all, dial_seeds, join_failure, peer_id_in
from swarm.network.sounding import HANDLER as SOUNDING
from swarm.network.sounding import MOST_BYTES, WANTED, Sounding, allowance
from swarm.network.streams import Streams
from swarm.network.traffic import Traffic
from swarm.trust.identity import Identity

FIRST_WAIT_SECONDS = 0.5  # before a dead daemon is started again; doubled each time
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a peer listens and whom it asks first. revivals: how often in a row a dead daemon is started again.

    first: nobody needs to answer. direct: peers of the same network are spoken to without the daemon too.
    """

    initial_peers: tuple[str, ...]
    listen: tuple[str, ...]
    announce: tuple[str, ...]
    client: bool
    kinds: tuple[str, ...]
    revivals: int
    first: bool = False
    direct: bool = True


class Engine:
    """Create and use it in the loop. `on_death(reason)`: the daemon is gone for good."""

    def __init__(
        self, identity: Identity, run_digest: str, place: Place, caps: Caps, on_death: Callable[[str], None]
    ) -> None:
        self.identity, self.run_digest, self.place = identity, run_digest, place
        self.traffic = Traffic()
        self.failure: str | None = None  # why the daemon is gone, while it is
        self.revived = 0
        self.streams = Streams(run_digest, self.traffic, caps)
        self.blobs = Blobs(self.streams)
        if place.direct and caps.upload is None and caps.download is None:
            self.streams.direct = Direct(self.connections, self.streams.call, self.streams.serve, self.streams.rejected)
        self.validator = Validator(identity, run_digest, place.kinds)
        self._on_death = on_death
        self._listen = place.listen
        self._known: tuple[str, ...] = ()  # addresses that `meet` reached
        self._resources = contextlib.AsyncExitStack()
        self._repair: asyncio.Task[None] | None = None
        self._late: asyncio.Task[dict[str, str | None]] | None = None
        self._stopping = False

    async def start(self) -> None:
        await self._bring_up(again=self.place.first)
        await self.blobs.start()
        sounding, most = Sounding().answer, WANTED.size + MOST_BYTES
        await self.streams.handle(SOUNDING, sounding, limit_bytes=most, anyone=True, allowance=allowance())
        await self.streams.handle(REACH, Reach(self.connections).answer, limit_bytes=REACH_BYTES, anyone=True)
        if self.streams.direct is not None:
            await self.streams.handle(DIRECT, self.streams.direct.answer, limit_bytes=NAME_BYTES)
        if not self.place.client:
            actual = [address.rpartition("/p2p/")[0] for address in await self.addresses()]
            self._listen = _settled(self.place.listen, actual)
            if self.streams.direct is not None:
                self.streams.direct.host = listening_host(self._listen)

    async def _bring_up(self, *, again: bool = False) -> None:
        """again: nobody needs to answer; whoever has lost all others keeps asking for them (`meet`)."""
        place = self.place
        self.daemon = await Daemon.start(
            self.identity.libp2p_protobuf(), listen=self._listen, announce=place.announce, client=place.client
        )
        self._resources.push_async_callback(self.daemon.stop)
        self.daemon.ended.add_done_callback(lambda future: self._ended(future.result()))
        self.p2p = await CountedP2P.attach(self.daemon.control, self.traffic)
        self._resources.push_async_callback(self.p2p.shutdown)
        if not place.client:
            check_ports(self._listen, await self.addresses())
        if again:
            causes = await dial_all(self.daemon.control, [*place.initial_peers, *self._known])
            reached = [address for address, cause in causes.items() if cause is None]
        else:
            reached = await dial_seeds(self.daemon.control, place.initial_peers, self.identity.peer_id)
        try:
            self.node = await DHTNode.create(
                self.p2p, initial_peers=reached, client_mode=place.client, record_validator=self.validator
            )
        except Exception as error:
            raise join_failure(error, reached) from error
        self._resources.push_async_callback(self._leave_dht)
        self.directory = Directory(self.node, self.identity, self.run_digest, place.kinds)
        await self.streams.attach(self.daemon.control, str(self.daemon.folder / "streams.sock"))
        self._resources.push_async_callback(self.streams.close)
        if late := [door for door in place.initial_peers if door not in reached] if reached else []:
            self._late = asyncio.ensure_future(self.meet(late))  # slow, or another half of the swarm: not waited for

    async def _leave_dht(self) -> None:
        """hivemind waits for the daemon's answers without an end, also where the daemon is dead."""
        self.node.is_alive = False
        if self.daemon.ended.done():
            return
        leaving = asyncio.ensure_future(self.node.shutdown())
        await asyncio.wait({leaving, self.daemon.ended}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

    async def stop(self) -> None:
        self._stopping = True
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)
        await self._resources.aclose()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # --- a daemon that dies -----------------------------------------------------------------------------------------

    def _ended(self, reason: str) -> None:
        if self._stopping or self._repair is not None:
            return
        self.failure = reason
        logger.error("%s", reason)
        if self.place.revivals:
            self._repair = asyncio.ensure_future(self._revive(reason))
        else:
            self._on_death(reason)

    async def _revive(self, reason: str) -> None:
        for attempt in range(self.place.revivals):
            await asyncio.sleep(FIRST_WAIT_SECONDS * 2**attempt)
            await self._resources.aclose()
            self._resources = contextlib.AsyncExitStack()
            try:
                await self._bring_up(again=True)
            except (SwarmError, OSError) as error:
                logger.warning("the daemon could not be started again: %s", error)
                reason = f"{reason}, and could not be started again ({error})"[:600]
                continue
            if self.daemon.ended.done():
                continue
            self.failure, self._repair = None, None
            self.revived += 1
            return
        self.failure = reason
        self._on_death(reason)

    # --- others -----------------------------------------------------------------------------------------------------

    async def meet(self, addresses: Sequence[str]) -> dict[str, str | None]:
        """Dial peers and take those that answer into the DHT; each address with the cause of its failure, or None."""
        others = [address for address in addresses if peer_id_in(address) != self.identity.peer_id]
        causes = await dial_all(self.daemon.control, others)
        reached = [address for address, cause in causes.items() if cause is None]
        await asyncio.gather(
            *(
                self.node.protocol.call_ping(PeerID.from_base58(peer))
                for peer in dict.fromkeys(map(peer_id_in, reached))
            )
        )
        self._known = tuple(dict.fromkeys([*reached, *self._known]))[:64]
        return causes

    async def addresses(self) -> list[str]:
        own = Multiaddr(f"/p2p/{self.identity.peer_id}")
        _, addresses = await self.p2p.identify()
        return [str(address.encapsulate(own)) for address in addresses]

    async def connected(self) -> list[str]:
        return sorted({str(info.peer_id) for info in await self.p2p.list_peers()})

    async def connections(self) -> list[tuple[str, str]]:
        """(peer id, where it came from or was dialled) of every open connection."""
        return [(str(info.peer_id), str(place)) for info in await self.p2p.list_peers() for place in info.addrs]

    async def fetch(
        self,
        digest: str,
        limit_bytes: int,
        donors: Sequence[str] | None,
        progress: Callable[[int, int, str], None] | None,
    ) -> bytes:
        """See `Network.fetch`."""
        if donors is None:
            known = [record.peer_id for kind in self.place.kinds for record in await self.directory.read(kind)]
            donors = [peer_id_in(peer) for peer in self.place.initial_peers] + known
        others = [peer for peer in dict.fromkeys(donors) if peer != self.identity.peer_id]
        return await self.blobs.fetch(digest, limit_bytes=limit_bytes, donors=others, progress=progress)

    def rejected(self) -> Counter[str]:
        return self.validator.rejected + self.streams.rejected + self.blobs.rejected


def _settled(wanted: Sequence[str], actual: Sequence[str]) -> tuple[str, ...]:
    """The addresses to listen on, with the port that was found free in place of port 0."""
    ports = {port for address in actual if (port := port_of(address)) is not None}
    if len(ports) != 1:
        return tuple(wanted)
    port = ports.pop()
    return tuple(
        address[: -len("/tcp/0")] + f"/tcp/{port}" if address.endswith("/tcp/0") else address for address in wanted
    )
