"""Content-addressed bytes from peer to peer: whoever serves them, only what hashes to the digest counts.

A fetch asks for bounded chunks, a few at a time, from one donor; where that one fails, the next goes on with the
chunks that are still missing. A whole that does not hash to its digest came from a liar: that donor is not asked again.

    request     digest (32 bytes) | offset (8) | length (4)
    response    size of the whole (8 bytes) | the bytes
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from swarm.errors import NetworkError
from swarm.network.allowance import Allowance
from swarm.network.streams import PeerError, RefusedError, Streams
from swarm.network.together import together

REQUEST = struct.Struct(">32sQI")
SIZE = struct.Struct(">Q")
CHUNK_BYTES = 1 << 20
WINDOW = 4  # chunks asked for at once, so that a long way does not leave the link idle
CHUNK_SECONDS = 30.0
HANDLER = "blob"
EACH_BYTES, EACH_TIMES, ALL_TIMES, WINDOW_SECONDS = 64 << 20, 16, 16, 600.0  # given away: to one peer, and to all

Progress = Callable[[int, int, str], None]  # (bytes so far, bytes in all, donor); called in the network's thread


class Blobs:
    """What we serve, and fetching what others serve. Lives in the network's event loop."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._served: dict[bytes, bytes | Path] = {}
        self.rejected: Counter[str] = Counter()  # donors given up, by reason
        self.allowance = Allowance(EACH_BYTES, ALL_TIMES * EACH_BYTES, WINDOW_SECONDS, least=4096)

    async def start(self) -> None:
        await self._streams.handle(HANDLER, self._answer, limit_bytes=REQUEST.size, allowance=self.allowance)

    def serve(self, digest: str, content: bytes | Path) -> None:
        """Serve bytes, or a file that does not change, under its SHA-256 in hex."""
        if isinstance(content, bytes):
            assert hashlib.sha256(content).hexdigest() == digest, "these bytes do not have that digest"
        self._served[bytes.fromhex(digest)] = content
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.allowance.each = max(self.allowance.each, EACH_TIMES * size)
        self.allowance.total = ALL_TIMES * self.allowance.each

    def withdraw(self, digest: str) -> None:
        self._served.pop(bytes.fromhex(digest), None)

    async def _answer(self, peer_id: str, request: bytearray) -> bytes:
        if len(request) != REQUEST.size:
            raise RefusedError("a malformed request")
        digest, offset, length = REQUEST.unpack(request)
        content = self._served.get(digest)
        if content is None:
            raise RefusedError("not served here")
        length = min(length, CHUNK_BYTES)
        if isinstance(content, bytes):
            return SIZE.pack(len(content)) + content[offset : offset + length]
        try:
            return await asyncio.get_running_loop().run_in_executor(None, _read_part, content, offset, length)
        except FileNotFoundError:
            self._served.pop(digest, None)
            raise RefusedError("no longer served here") from None
        except OSError:
            raise RefusedError("cannot be read just now") from None

    async def fetch(
        self, digest: str, *, limit_bytes: int, donors: Sequence[str], progress: Progress | None = None
    ) -> bytes:
        """The bytes of `digest` (SHA-256 in hex), at most `limit_bytes`. NetworkError tells each donor's failure."""
        failures: dict[str, str] = {}
        partial: _Partial | None = None
        for donor in dict.fromkeys(donors):
            try:
                size = await self._size(donor, digest, limit_bytes)
                if partial is None or partial.size != size:
                    partial = _Partial(size)
                await self._fill(partial, donor, digest, progress)
            except PeerError as error:
                self.rejected[error.cause] += 1
                failures[donor] = error.detail
                continue
            if await asyncio.to_thread(partial.digest) == digest:
                return bytes(partial.data)
            self.rejected["digest"] += 1
            liars = sorted(partial.givers)
            failures |= dict.fromkeys(liars, "gave bytes of another digest")
            mixed, partial = len(liars) > 1, None
            if mixed:  # one of several lied: this donor alone may still be honest
                whole = _Partial(size)
                try:
                    await self._fill(whole, donor, digest, progress)
                except PeerError as error:
                    failures[donor] = error.detail
                    continue
                if await asyncio.to_thread(whole.digest) == digest:
                    return bytes(whole.data)
        told = "; ".join(f"{donor}: {why}" for donor, why in failures.items()) or "nobody to ask"
        raise NetworkError(f"{digest[:12]} could not be fetched ({told}); wait for more peers and try again")

    async def _size(self, donor: str, digest: str, limit_bytes: int) -> int:
        answer = await self._ask(donor, digest, 0, 0)
        (size,) = SIZE.unpack_from(answer)
        if size > limit_bytes:
            raise PeerError(donor, "too-large", f"offers {size} bytes where at most {limit_bytes} are expected")
        return int(size)

    async def _fill(self, partial: _Partial, donor: str, digest: str, progress: Progress | None) -> None:
        """Fetch the chunks that are missing. PeerError at the donor's first failure; what came before is kept."""
        missing = iter(partial.missing())

        async def take() -> None:
            for index in missing:
                offset, length = partial.place(index)
                answer = await self._ask(donor, digest, offset, length)
                if len(answer) != SIZE.size + length or SIZE.unpack_from(answer)[0] != partial.size:
                    raise PeerError(donor, "refused", f"gave {len(answer) - SIZE.size} of {length} bytes")
                partial.keep(index, memoryview(answer)[SIZE.size :], donor)
                if progress is not None:
                    progress(partial.bytes_held, partial.size, donor)

        await together(take() for _ in range(WINDOW))

    async def _ask(self, donor: str, digest: str, offset: int, length: int) -> bytearray:
        request = REQUEST.pack(bytes.fromhex(digest), offset, length)
        answer = await self._streams.call(
            donor, HANDLER, request, timeout_seconds=CHUNK_SECONDS, limit_bytes=SIZE.size + length
        )
        if len(answer) < SIZE.size:
            raise PeerError(donor, "refused", "a malformed answer")
        return answer


class _Partial:
    """The chunks that have come so far, and from whom."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray(size)
        self.givers: set[str] = set()
        self.bytes_held = 0
        self._held: set[int] = set()

    def missing(self) -> list[int]:
        return [index for index in range(-(-self.size // CHUNK_BYTES)) if index not in self._held]

    def place(self, index: int) -> tuple[int, int]:
        """Offset and length of a chunk."""
        offset = index * CHUNK_BYTES
        return offset, min(CHUNK_BYTES, self.size - offset)

    def keep(self, index: int, data: memoryview, donor: str) -> None:
        offset, length = self.place(index)
        self.data[offset : offset + length] = data
        self._held.add(index)
        self.bytes_held += length
        self.givers.add(donor)

    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def _read_part(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return SIZE.pack(size) + (os.pread(file.fileno(), length, offset) if offset < size else b"")
