"""Many questions to a few peers at once: each conversation is kept open and used again, as many as are needed."""

from __future__ import annotations

from collections import defaultdict

from swarm.network.failure import PeerError
from swarm.network.pipe import Buffer
from swarm.network.streams import Conversation, Streams


class Conversations:
    """With the handler `name`. In the network's loop; close it at the end."""

    def __init__(self, streams: Streams, name: str, purpose: str) -> None:
        self.streams, self.name, self.purpose = streams, name, purpose
        self.idle: defaultdict[str, list[Conversation]] = defaultdict(list)  # by peer
        self.closed = False

    async def ask(self, peer_id: str, request: Buffer, *, timeout_seconds: float, limit_bytes: int) -> bytearray:
        """As of `Streams.call`."""
        while self.idle[peer_id]:
            try:
                return await self._ask(peer_id, self.idle[peer_id].pop(), request, timeout_seconds, limit_bytes)
            except PeerError as error:
                if error.cause != "closed":  # else it had been silent for too long: another one, or a new one
                    raise
        fresh = await self.streams.converse(peer_id, self.name, purpose=self.purpose, timeout_seconds=timeout_seconds)
        return await self._ask(peer_id, fresh, request, timeout_seconds, limit_bytes)

    async def _ask(
        self, peer_id: str, conversation: Conversation, request: Buffer, seconds: float, limit: int
    ) -> bytearray:
        try:
            answer = await conversation.ask(request, timeout_seconds=seconds, limit_bytes=limit)
        except BaseException:
            conversation.close()
            raise
        if self.closed:
            conversation.close()
        else:
            self.idle[peer_id].append(conversation)
        return answer

    def close(self) -> None:
        self.closed = True
        for conversations in self.idle.values():
            for conversation in conversations:
                conversation.close()
        self.idle.clear()
