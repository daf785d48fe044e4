"""Giving the shared state to peers that are behind: from checkpoints on disk, span by span, so that no round waits.

state-offers    request: nothing                                      answer: JSON, head of the log -> root
state-spans     request: root (32 bytes) | span | offset | length     answer: the bytes
                span 2^32 - 1 is the table: step, samples, digests of all spans, which hash to the root
"""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import CheckpointError
from swarm.network.allowance import Allowance
from swarm.network.file_part import FilePart
from swarm.network.streams import RefusedError
from swarm.state.checkpoint import record_of, saved, span_digests_of, state_file_of
from swarm.state.shared import root_of
from swarm.state.span_file import SpanFile
from swarm.state.state_file import file_size

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.run.manifest import Manifest

OFFERS, SPANS, PURPOSE = "state-offers", "state-spans", "state"
MAX_OFFERS = 64
OFFERED_SECONDS = 1.0  # in which the checkpoints on disk are looked through once, however many ask
REQUEST = struct.Struct(">32sIQI")
TABLE = 0xFFFFFFFF
TABLE_HEAD = struct.Struct("<QQ")  # step, samples
PIECE_BYTES = 1 << 22
KEPT_SECONDS = 60.0  # a checkpoint that was replaced stays open so long after it was last asked for
ALLOWED_STATES, ALLOWED_TOTAL, ALLOWED_SECONDS = 4, 64, 3600.0  # states given to one peer and to all, an hour
ALLOWED_BYTES = 64 << 20  # to one peer in any case: a small state costs nothing, and who drifts often must heal


class Held:
    """A checkpoint's state, open: it can be read to its end also when it was removed meanwhile."""

    def __init__(self, path: Path, file: SpanFile, root: bytes) -> None:
        self.path, self.file, self.root = path, file, root
        self.lock = threading.Lock()
        self.used = 0.0
        self.table = b""

    def part(self, span: int, offset: int, length: int) -> bytes | FilePart:
        """IndexError, OSError; ValueError where it was closed."""
        with self.lock:  # against being closed meanwhile
            if span != TABLE:
                return FilePart.of(self.file.file.fileno(), self.file.places(span, offset, length))
            if not self.table:
                self.table = TABLE_HEAD.pack(self.file.step, self.file.samples) + b"".join(self._digests())
            return self.table[offset : offset + length]

    def _digests(self) -> list[bytes]:
        """Those that were written with the checkpoint where they are its root's, else of the bytes themselves."""
        told = span_digests_of(self.path, self.file.spans)
        if told is not None and root_of(self.file.step, self.file.samples, told) == self.root:
            return told
        return self.file.digests()

    def close(self) -> None:
        with self.lock:
            self.file.close()


def allowance(state_bytes: int, clock: Callable[[], float]) -> Allowance:
    """How much of states of this size is given away."""
    each = max(ALLOWED_STATES * state_bytes, ALLOWED_BYTES)
    return Allowance(each, ALLOWED_TOTAL // ALLOWED_STATES * each, ALLOWED_SECONDS, least=4096, clock=clock)


class CheckpointDonor:
    """Offers every checkpoint in `folder` by its head of the log."""

    def __init__(
        self, network: Network, manifest: Manifest, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.network, self.manifest, self.folder, self.clock = network, manifest, folder, clock
        self.held: dict[bytes, Held] = {}  # by root
        self.lock = threading.Lock()
        self.offered: tuple[float, bytes] = (-OFFERED_SECONDS, b"")  # when it was looked up, and what was found
        given = allowance(file_size(manifest), clock)
        network.handle(OFFERS, self._offer, limit_bytes=64, purpose=PURPOSE)
        network.handle(SPANS, self._give, limit_bytes=REQUEST.size, purpose=PURPOSE, allowance=given)

    async def _offer(self, peer_id: str, request: bytearray) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, self._offers)

    def _offers(self) -> bytes:
        """As of a moment ago, where many ask."""
        looked, found = self.offered
        if self.clock() - looked >= OFFERED_SECONDS:
            found = json.dumps({head: root for head, root, _ in self._checkpoints()}).encode()
            self.offered = (self.clock(), found)
        return found

    def _checkpoints(self) -> Iterator[tuple[str, str, Path]]:
        """Head, root and folder of each."""
        for path in saved(self.folder)[:MAX_OFFERS]:
            try:
                record = record_of(path)
            except (OSError, CheckpointError):  # removed meanwhile, in favour of a newer one
                continue
            if record.log_head is not None:
                yield record.log_head, record.state, path

    async def _give(self, peer_id: str, request: bytearray) -> bytes | FilePart:
        if len(request) != REQUEST.size:
            raise RefusedError("a malformed request")
        return await asyncio.get_running_loop().run_in_executor(None, self._read, request)

    def _read(self, request: bytearray) -> bytes | FilePart:
        root, span, offset, length = REQUEST.unpack(request)
        held = self._find(root)
        try:
            if held is not None:
                part = held.part(span, offset, min(length, PIECE_BYTES))
                return part.warm() if isinstance(part, FilePart) else part
        except (IndexError, OSError, ValueError):
            raise RefusedError("no such span") from None
        raise RefusedError("no longer here")

    def _find(self, root: bytes) -> Held | None:
        """The state with this root, open; closes what is gone from disk and was not asked for lately."""
        with self.lock:
            if root not in self.held:
                path = next((path for _, found, path in self._checkpoints() if found == root.hex()), None)
                if path is None:
                    return None
                try:
                    self.held[root] = Held(path, SpanFile.open(self.manifest, state_file_of(path)), root)
                except (OSError, CheckpointError):
                    return None
            self.held[root].used = self.clock()
            for other, held in list(self.held.items()):
                if not held.path.exists() and self.clock() - held.used > KEPT_SECONDS:
                    self.held.pop(other).close()
            return self.held[root]


def parse_table(table: bytes) -> tuple[int, int, list[bytes], bytes]:
    """Step, samples, digests, and the root they hash to. ValueError where it has another form."""
    body = memoryview(table)[TABLE_HEAD.size :]
    if len(table) < TABLE_HEAD.size or len(body) % 32:
        raise ValueError(f"a table of {len(table)} bytes")
    step, samples = TABLE_HEAD.unpack_from(table)
    digests = [bytes(body[at : at + 32]) for at in range(0, len(body), 32)]
    return step, samples, digests, root_of(step, samples, digests)
