"""Asking on streams: one conversation, and as many as it takes to ask a few peers many things at once."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarm.network.failure import PeerError, failures
from swarm.network.pipe import Buffer, Pipe
from swarm.network.traffic import Traffic

if TYPE_CHECKING:
    from swarm.network.streams import Streams

LENGTH = struct.Struct(">I")
ANSWER = struct.Struct(">BI")
OK = 0
MAX_REFUSAL = 200  # bytes of text


class Conversation:
    """Requests and answers on one stream, one after another: opening a stream costs as much as 200 kB on it."""

    def __init__(self, pipe: Pipe, traffic: Traffic, purpose: str) -> None:
        self._pipe, self._traffic, self._purpose = pipe, traffic, purpose

    async def ask(self, *request: Buffer, timeout_seconds: float, limit_bytes: int) -> bytearray:
        """The answer, of at most `limit_bytes`. After any PeerError but "refused" nothing more can be asked."""
        return await self._exchange(request, None, timeout_seconds, limit_bytes)

    async def fill(self, memory: Sequence[memoryview], *request: Buffer, timeout_seconds: float) -> None:
        """The answer into `memory`, which it must fill. After any PeerError nothing more can be asked."""
        await self._exchange(request, memory, timeout_seconds, sum(map(len, memory)))

    async def _exchange(
        self, request: Sequence[Buffer], memory: Sequence[memoryview] | None, timeout_seconds: float, limit_bytes: int
    ) -> bytearray:
        size, peer_id = sum(map(len, request)), self._pipe.peer_id
        answer = bytearray()
        with failures(peer_id, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                await self._pipe.write(LENGTH.pack(size), *request)
                self._traffic.add("sent", self._purpose, LENGTH.size + size)
                status, length = ANSWER.unpack(await self._pipe.read(ANSWER.size))
                if length > (limit_bytes if status == OK else MAX_REFUSAL):
                    raise PeerError(peer_id, "too-large", f"{length} bytes, at most {limit_bytes} were expected")
                if status != OK or memory is None:
                    answer = await self._pipe.read(length)
                elif length < limit_bytes:
                    raise PeerError(peer_id, "refused", f"gave {length} of {limit_bytes} bytes")
                else:
                    for part in memory:
                        await self._pipe.read_into(part)
                self._traffic.add("received", self._purpose, ANSWER.size + length)
        if status != OK:
            raise PeerError(peer_id, "refused", answer.decode("utf-8", "replace"))
        return answer

    def close(self) -> None:
        self._pipe.close()


class Conversations:
    """With the handler `name`. In the network's loop; close it at the end."""

    def __init__(self, streams: Streams, name: str, purpose: str) -> None:
        self.streams, self.name, self.purpose = streams, name, purpose
        self.idle: defaultdict[str, list[Conversation]] = defaultdict(list)  # by peer
        self.closed = False

    async def fill(
        self, peer_id: str, memory: Sequence[memoryview], request: Buffer, *, timeout_seconds: float
    ) -> None:
        """`memory` with the answer. PeerError: see `cause`."""
        while self.idle[peer_id]:
            try:
                return await self._fill(peer_id, self.idle[peer_id].pop(), memory, request, timeout_seconds)
            except PeerError as error:
                if error.cause != "closed":  # else it had been silent for too long: another one, or a new one
                    raise
        fresh = await self.streams.converse(peer_id, self.name, purpose=self.purpose, timeout_seconds=timeout_seconds)
        return await self._fill(peer_id, fresh, memory, request, timeout_seconds)

    async def _fill(
        self, peer_id: str, conversation: Conversation, memory: Sequence[memoryview], request: Buffer, seconds: float
    ) -> None:
        try:
            await conversation.fill(memory, request, timeout_seconds=seconds)
        except BaseException:
            conversation.close()
            raise
        if self.closed:
            conversation.close()
        else:
            self.idle[peer_id].append(conversation)

    def close(self) -> None:
        self.closed = True
        for conversations in self.idle.values():
            for conversation in conversations:
                conversation.close()
        self.idle.clear()
