"""A stream of our own between two peers that share a key, on TCP: every byte is encrypted and authenticated.

AES-256-GCM (NIST SP 800-38D) from `cryptography`, straight from a message's memory and into it: 10 GB/s on a core with
AES instructions, which is what copying takes. A key is used for one connection and never again, so that a nonce can be
a counter; a frame that was changed, left out, repeated, moved or turned around does not open, and ends the stream.

    frame    length of what follows (4 bytes, big-endian) | 1 to 2^17 bytes, encrypted | tag (16)
    nonce    side (1 byte: 0 from who asked for the connection, 1 from who answered) | zeros (3) | frame's number (8)
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from swarm.network.file_part import FilePart
from swarm.network.pipe import Buffer, Pipe

KEY_BYTES = 32
SIZE = struct.Struct(">I")
NONCE = struct.Struct(">B3xQ")
TAG_BYTES = 16
FRAME_BYTES = 1 << 17  # of content: with what it is encrypted from and to it stays in the second-level cache
SMALL_BYTES = 1 << 12  # pieces of a message below this share a frame
MOST_BYTES = SIZE.size + FRAME_BYTES + TAG_BYTES
ROOM_BYTES = 2 * (SIZE.size + TAG_BYTES) + SMALL_BYTES  # so that a small frame and a full one leave together


class SealedPipe(Pipe):
    """See `Pipe`. asked: whether this end asked for the connection."""

    def __init__(self, sock: socket.socket, peer_id: str, key: bytes, *, asked: bool) -> None:
        super().__init__(sock, peer_id)
        self._cipher = AESGCM(key)
        self._own, self._other = (0, 1) if asked else (1, 0)
        self._sent = self._opened = 0  # frames
        self._in = memoryview(bytearray(SIZE.size))  # grows to the largest frame that came: most ends only write
        self._held = 0  # bytes at the start of `_in` that came and are not opened yet
        self._plain = memoryview(bytearray())  # opened and not read yet

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read_into(self, rest: memoryview) -> None:
        """As `Pipe.read_into`. EOFError also where what came is not from this peer."""
        size = len(rest)
        while rest:
            if not self._plain:
                rest = rest[await self._open(rest, size) :]
            count = min(len(rest), len(self._plain))
            rest[:count] = self._plain[:count]
            rest, self._plain = rest[count:], self._plain[count:]

    async def _open(self, rest: memoryview, size: int) -> int:
        """Open the next frame: into `rest`, where it fits; the number of bytes that are there now."""
        await self._come(SIZE.size, len(rest), size)
        (length,) = SIZE.unpack(self._in[: SIZE.size])
        content = length - TAG_BYTES
        if not 0 < content <= FRAME_BYTES:
            raise EOFError(f"the stream ended with a frame of {length} bytes")
        end = SIZE.size + length
        await self._come(end, len(rest), size)
        fits = content <= len(rest)
        plain = rest[:content] if fits else memoryview(bytearray(content))
        try:
            self._cipher.decrypt_into(NONCE.pack(self._other, self._opened), self._in[SIZE.size : end], None, plain)
        except InvalidTag:
            raise EOFError("the stream ended with a frame that this peer has not sent") from None
        self._opened += 1
        self._held -= end
        self._in[: self._held] = self._in[end : end + self._held]
        if not fits:
            self._plain = plain
        return content if fits else 0

    async def _come(self, wanted: int, left: int, size: int) -> None:
        """Until at least `wanted` bytes of the next frame are here."""
        if wanted > len(self._in):
            grown = memoryview(bytearray(wanted))
            grown[: self._held] = self._in[: self._held]
            self._in = grown
        while self._held < wanted:
            count = await self._loop.sock_recv_into(self._socket, self._in[self._held :])
            if count == 0:
                raise EOFError(f"the stream ended {left} of {size} bytes early")
            self._held += count

    # --- writing -----------------------------------------------------------------------------------------------------

    async def write(self, *buffers: Buffer | FilePart) -> None:
        out, full = memoryview(bytearray(min(MOST_BYTES, sum(map(len, buffers))) + ROOM_BYTES)), 0
        for piece in _pieces(buffers):
            if full + SIZE.size + len(piece) + TAG_BYTES > len(out):
                await self._loop.sock_sendall(self._socket, out[:full])
                full = 0
            full = self._seal(piece, out, full)
        if full:
            await self._loop.sock_sendall(self._socket, out[:full])

    def _seal(self, piece: Buffer, out: memoryview, start: int) -> int:
        """The next frame, at `start` of what goes out; where it ends."""
        length = len(piece) + TAG_BYTES
        body = start + SIZE.size
        SIZE.pack_into(out, start, length)
        self._cipher.encrypt_into(NONCE.pack(self._own, self._sent), piece, None, out[body : body + length])
        self._sent += 1
        return body + length


def _pieces(buffers: tuple[Buffer | FilePart, ...]) -> Iterator[Buffer]:
    """What becomes one frame each: large buffers cut, small ones that follow each other joined."""
    small = bytearray()
    for buffer in buffers:
        assert not isinstance(buffer, FilePart), "what answers with files uses the daemon's streams"
        if len(buffer) + len(small) <= SMALL_BYTES:
            small += buffer
            continue
        if small:
            yield small
            small = bytearray()
        view = memoryview(buffer)
        yield from (view[start : start + FRAME_BYTES] for start in range(0, len(view), FRAME_BYTES))
    if small:
        yield small
