"""hivemind's P2P on a daemon that is already running, with the bytes of the DHT's messages counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hivemind.p2p import P2P, P2PContext, PeerID
from hivemind.utils.multiaddr import Multiaddr

from swarm.network.traffic import Traffic

PURPOSE = "dht"


class CountedP2P(P2P):
    """Messages of `DHTNode` go through these two methods of hivemind's P2P; it streams none of them."""

    traffic: Traffic

    @classmethod
    async def attach(cls, control: str, traffic: Traffic) -> CountedP2P:
        p2p = await cls.replicate(Multiaddr(f"/unix{control}"))
        p2p.traffic = traffic
        return p2p

    async def identify(self) -> tuple[PeerID, tuple[Multiaddr, ...]]:
        return await self._client.identify()

    async def call_protobuf_handler(self, peer_id: PeerID, name: str, input: Any, output_protobuf_type: Any) -> Any:
        self.traffic.add("sent", PURPOSE, input.ByteSize())
        output = await super().call_protobuf_handler(peer_id, name, input, output_protobuf_type)
        self.traffic.add("received", PURPOSE, output.ByteSize())
        return output

    async def add_protobuf_handler(
        self, name: str, handler: Callable[[Any, P2PContext], Awaitable[Any]], input_protobuf_type: Any, **kwargs: Any
    ) -> None:
        async def counted(request: Any, context: P2PContext) -> Any:
            self.traffic.add("received", PURPOSE, request.ByteSize())
            response = await handler(request, context)
            self.traffic.add("sent", PURPOSE, response.ByteSize())
            return response

        await super().add_protobuf_handler(name, counted, input_protobuf_type, **kwargs)
