"""hivemind's P2P on a daemon that is already running, with the bytes of its messages counted."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from hivemind.p2p import P2P, P2PContext, PeerID
from hivemind.utils.multiaddr import Multiaddr

from swarm.network.traffic import Direction, Traffic

DIRECTORY = "DHTProtocol"


def purpose_of(name: str) -> str:
    """What a handler of hivemind's is for."""
    return "dht" if DIRECTORY in name else "averaging"


class CountedP2P(P2P):
    """Everything of hivemind's goes through these methods of its P2P: single calls, and streams of messages."""

    traffic: Traffic

    @classmethod
    async def attach(cls, control: str, traffic: Traffic) -> CountedP2P:
        p2p = await cls.replicate(Multiaddr(f"/unix{control}"))
        p2p.traffic = traffic
        return p2p

    async def identify(self) -> tuple[PeerID, tuple[Multiaddr, ...]]:
        return await self._client.identify()

    async def call_protobuf_handler(self, peer_id: PeerID, name: str, input: Any, output_protobuf_type: Any) -> Any:
        self.traffic.add("sent", purpose_of(name), input.ByteSize())
        output = await super().call_protobuf_handler(peer_id, name, input, output_protobuf_type)
        self.traffic.add("received", purpose_of(name), output.ByteSize())
        return output

    async def iterate_protobuf_handler(self, peer_id: PeerID, name: str, input: Any, output_protobuf_type: Any) -> Any:
        purpose = purpose_of(name)
        requests = self._counting("sent", purpose, input if isinstance(input, AsyncIterable) else _only(input))
        answers = await super().iterate_protobuf_handler(peer_id, name, requests, output_protobuf_type)
        return self._counting("received", purpose, answers)

    async def add_protobuf_handler(
        self,
        name: str,
        handler: Callable[[Any, P2PContext], Any],
        input_protobuf_type: Any,
        *,
        stream_input: bool = False,
        stream_output: bool = False,
        balanced: bool = False,
    ) -> None:
        purpose = purpose_of(name)

        async def counted(request: Any, context: P2PContext) -> Any:
            self.traffic.add("received", purpose, request.ByteSize())
            response = await handler(request, context)
            self.traffic.add("sent", purpose, response.ByteSize())
            return response

        async def streamed(requests: Any, context: P2PContext) -> AsyncIterator[Any]:
            if stream_input:
                requests = self._counting("received", purpose, requests)
            else:
                self.traffic.add("received", purpose, requests.ByteSize())
            output = handler(requests, context)
            async for message in output if isinstance(output, AsyncIterable) else _only(await output):
                self.traffic.add("sent", purpose, message.ByteSize())
                yield message

        await super().add_protobuf_handler(
            name,
            streamed if stream_input or stream_output else counted,
            input_protobuf_type,
            stream_input=stream_input,
            stream_output=stream_output,
            balanced=balanced,
        )

    async def _counting(self, direction: Direction, purpose: str, messages: AsyncIterable[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            self.traffic.add(direction, purpose, message.ByteSize())
            yield message


async def _only(message: Any) -> AsyncIterator[Any]:
    yield message
