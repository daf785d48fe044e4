"""Many questions on few streams: each answer is its own, a refusal ends nothing, a silent stream is replaced."""

from __future__ import annotations

import asyncio

import pytest

from swarm.network import serving
from swarm.network.conversations import Conversations
from swarm.network.host import Network
from swarm.network.streams import PeerError, RefusedError
from tests.swarm.network.conftest import Join

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


def served(join: Join) -> tuple[Network, Network, list[bytes]]:
    """One that answers, one that asks, and what was asked."""
    first, asked = join(), []

    async def double(peer_id: str, request: bytearray) -> bytes:
        asked.append(bytes(request))
        if request == b"no":
            raise RefusedError("not that")
        return bytes(request) * 2

    first.handle("double", double, limit_bytes=1 << 16)
    return first, join(first), asked


async def ask(together: Conversations, peer_id: str, question: bytes, size: int) -> bytes:
    memory = bytearray(size)
    await together.fill(peer_id, [memoryview(memory)], question, timeout_seconds=5)
    return bytes(memory)


def test_questions_at_once_get_their_own_answers_on_as_many_streams(join: Join) -> None:
    first, second, asked = served(join)
    most = [0]

    async def talk() -> None:
        together = Conversations(second.streams, "double", "state")

        async def some(name: bytes) -> None:
            for number in range(30):
                question = name * (number + 1)
                assert await ask(together, first.peer_id, question, 2 * len(question)) == question * 2
                most[0] = max(most[0], len(first.streams.serving.open.get(second.peer_id, ())))

        await asyncio.gather(some(b"a"), some(b"b"), some(b"c"))
        with pytest.raises(PeerError, match="not that"):
            await ask(together, first.peer_id, b"no", 4)
        with pytest.raises(PeerError) as caught:
            await ask(together, first.peer_id, bytes(200), 200)
        assert caught.value.cause == "too-large"
        with pytest.raises(PeerError, match="gave 4 of 200 bytes"):
            await ask(together, first.peer_id, b"xy", 200)
        halves = [memoryview(bytearray(1)), memoryview(bytearray(3))]
        await together.fill(first.peer_id, halves, b"ab", timeout_seconds=5)
        assert [bytes(half) for half in halves] == [b"a", b"bab"]
        together.close()

    second.run(talk(), 30)
    assert len(asked) == 94
    assert most[0] == 3, "no stream was opened for a question that an open one could take"


def test_a_stream_that_was_silent_for_too_long_is_replaced(
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "STALL_SECONDS", 0.3)
    first, second, _ = served(join)

    async def talk() -> None:
        together = Conversations(second.streams, "double", "state")
        assert await ask(together, first.peer_id, b"x", 2) == b"xx"
        while second.peer_id in first.streams.serving.open:
            await asyncio.sleep(0.02)
        assert await ask(together, first.peer_id, b"y", 2) == b"yy"
        together.close()

    second.run(talk(), 20)
    assert not first.rejected(), "to ask nothing more is no stall"
