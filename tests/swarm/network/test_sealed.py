"""A sealed stream: what is written is read, and nothing that somebody in between does to it is taken for the peer's."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from swarm.network.sealed import FRAME_BYTES, KEY_BYTES, SIZE, SMALL_BYTES, TAG_BYTES, SealedPipe

T = TypeVar("T")
KEY = bytes(range(KEY_BYTES))
Tamper = Callable[[list[bytes]], list[bytes]]


def sockets() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for end in pair:
        end.setblocking(False)
    return pair


def ends(key: bytes = KEY) -> tuple[SealedPipe, SealedPipe]:
    one, other = sockets()
    return SealedPipe(one, "answerer", key, asked=True), SealedPipe(other, "asker", key, asked=False)


async def written(*messages: bytes) -> list[bytes]:
    """The frames that whoever asked would send."""
    one, other = sockets()
    pipe = SealedPipe(one, "answerer", KEY, asked=True)
    loop, data = asyncio.get_running_loop(), bytearray()

    async def send() -> None:
        for message in messages:
            await pipe.write(message)
        pipe.close()

    sending = asyncio.ensure_future(send())
    while piece := await loop.sock_recv(other, 1 << 20):
        data += piece
    await sending
    other.close()
    frames, at = [], 0
    while at < len(data):
        end = at + SIZE.size + SIZE.unpack_from(data, at)[0]
        frames.append(bytes(data[at:end]))
        at = end
    return frames


async def read(frames: list[bytes], size: int, key: bytes = KEY, *, asked: bool = False) -> bytes:
    """What the other end makes of them."""
    one, other = sockets()
    pipe = SealedPipe(other, "asker", key, asked=asked)

    async def send() -> None:
        await asyncio.get_running_loop().sock_sendall(one, b"".join(frames))
        one.close()

    sending = asyncio.ensure_future(send())
    try:
        return bytes(await pipe.read(size))
    finally:
        pipe.close()
        await asyncio.gather(sending, return_exceptions=True)


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(bounded())


SIZES = [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 1 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read_in_whatever_pieces_both_ways(size: int) -> None:
    head, body = os.urandom(23), os.urandom(size)
    cuts = random.Random(size)

    async def one_way(sender: SealedPipe, taker: SealedPipe) -> None:
        sending = asyncio.ensure_future(sender.write(head, memoryview(body), b"", head))
        wanted, got = len(body) + 2 * len(head), bytearray()
        while len(got) < wanted:
            got += await taker.read(min(wanted - len(got), cuts.choice([1, 100, SMALL_BYTES, FRAME_BYTES, 1 << 19])))
        await sending
        assert got == head + body + head

    async def both() -> None:
        one, other = ends()
        for _ in range(2):
            await asyncio.gather(one_way(one, other), one_way(other, one))
        one.close()
        with pytest.raises(EOFError, match="1 of 1 bytes early"):
            await other.read(1)
        other.close()

    run(both())


def test_nothing_that_was_written_can_be_read_on_the_way_and_equal_frames_look_different() -> None:
    message = b"a gradient that nobody else may see" * 1000
    frames = run(written(message, message))
    assert len(frames) == 2
    assert frames[0] != frames[1]
    assert b"gradient" not in b"".join(frames)
    assert run(read(frames, 2 * len(message))) == 2 * message


def flipped(at: int) -> Tamper:
    def tamper(frames: list[bytes]) -> list[bytes]:
        changed = bytearray(frames[1])
        changed[at] ^= 1
        return [frames[0], bytes(changed), frames[2]]

    return tamper


TAMPERS: dict[str, Tamper] = {
    "changed": flipped(SIZE.size + 3),
    "tag changed": flipped(-1),
    "length changed": flipped(SIZE.size - 1),
    "left out": lambda frames: [frames[0], frames[2]],
    "repeated": lambda frames: [frames[0], frames[0], frames[2]],
    "turned around": lambda frames: [frames[1], frames[0], frames[2]],
    "empty": lambda frames: [SIZE.pack(TAG_BYTES) + bytes(TAG_BYTES), *frames],
    "no tag": lambda frames: [SIZE.pack(TAG_BYTES - 1) + bytes(TAG_BYTES), *frames],
    "too large": lambda frames: [SIZE.pack(FRAME_BYTES + TAG_BYTES + 1) + bytes(1 << 19), *frames],
    "largest length": lambda frames: [b"\xff" * 4, *frames],
    "cut": lambda frames: [frames[0], frames[1][:-1]],
    "nothing": lambda frames: [],
}


@pytest.mark.parametrize("how", TAMPERS)
def test_a_frame_that_is_not_the_next_of_this_peer_ends_the_stream(how: str) -> None:
    frames = run(written(b"a" * 5000, b"b" * 5000, b"c" * 5000))
    with pytest.raises(EOFError):
        run(read(TAMPERS[how](frames), 15_000))


def test_another_key_or_one_s_own_words_sent_back_open_nothing() -> None:
    frames = run(written(b"a" * 5000))
    assert run(read(frames, 5000)) == b"a" * 5000
    for key, asked in ((bytes(KEY_BYTES), False), (KEY, True)):
        with pytest.raises(EOFError, match="has not sent"):
            run(read(frames, 5000, key, asked=asked))


def test_a_read_that_was_given_up_loses_nothing() -> None:
    """A receiver that waits for a header with a timeout goes on with the same stream."""

    async def go() -> None:
        one, other = ends()
        (frame,) = await written(b"x" * 5000)
        loop = asyncio.get_running_loop()
        for piece in (frame[:2], frame[2:1000], frame[1000:]):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await other.read(5000)
            await loop.sock_sendall(one._socket, piece)
        assert await other.read(5000) == b"x" * 5000
        one.close()
        other.close()

    run(go())
