"""Giving what an audit needs to whoever asks: the log of rounds, their means, and what this peer itself gave.

round-log      request: head (32 bytes)                answer: the commits after it, as many as fit, as the log has them
round-means    request: digest (32 bytes)              answer: the encoded span
round-gifts    request: nothing                        answer: JSON, step -> bytes of what is kept of it
               request: step | offset | length         answer: the bytes

Nothing here is private: the log and the means are what every member holds, and a contribution is what was sent, which a
peer that trains on private text does not keep. Each is checked by whoever takes it (`gathering`), against certificates
and signatures, so it does not matter who gives it.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.averaging.live.journal import LENGTH, PAGE_BYTES
from swarm.averaging.live.kept import kept
from swarm.averaging.round.messages import DIGEST
from swarm.network.allowance import Allowance
from swarm.network.pipe import Buffer
from swarm.network.streams import RefusedError

if TYPE_CHECKING:
    from swarm.averaging.live.averager import RoundAverager
    from swarm.network.host import Network

LOG, MEANS, GIFTS, PURPOSE = "round-log", "round-means", "round-gifts", "state"
REQUEST = struct.Struct(">QQI")
PIECE_BYTES = 1 << 22
LIST_BYTES = 16_384
ALLOWED_VECTORS, ALLOWED_TOTAL, ALLOWED_SECONDS = 64, 512, 3600.0  # encoded vectors given to one and to all, an hour
LOG_BYTES = 64 << 20  # of the log, likewise to one; to all eight times as much


class EvidenceDonor:
    """gifts: the folder of what this peer gave."""

    def __init__(self, network: Network, averager: RoundAverager, gifts: Path) -> None:
        self.driver, self.gifts = averager.driver, gifts
        vector = averager.terms.policy.vector_bytes
        each, total = ALLOWED_VECTORS * vector, ALLOWED_TOTAL * vector
        given = Allowance(each + LOG_BYTES, total + 8 * LOG_BYTES, ALLOWED_SECONDS, least=4096)
        for name, answer, size in ((LOG, self._log, DIGEST), (MEANS, self._mean, DIGEST), (GIFTS, self._gift, 64)):
            network.handle(name, answer, limit_bytes=size, purpose=PURPOSE, allowance=given)

    async def _log(self, peer_id: str, request: bytearray) -> bytes:
        """In the loop that also writes the log."""
        if len(request) != DIGEST:
            raise RefusedError("a malformed request")
        head, tip = bytes(request), self.driver.core.log.tip.round
        known = head in self.driver.journal.places or not any(head)
        page = self.driver.journal.page((head,), tip) if known else []
        return b"".join(LENGTH.pack(len(wire)) + wire for wire in page)

    async def _mean(self, peer_id: str, request: bytearray) -> Buffer:
        if len(request) != DIGEST:
            raise RefusedError("a malformed request")
        found = await asyncio.get_running_loop().run_in_executor(None, self.driver.means.get, bytes(request))
        if found is None:
            raise RefusedError("no longer here")
        return found

    async def _gift(self, peer_id: str, request: bytearray) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, self._read, request)

    def _read(self, request: bytearray) -> bytes:
        held = dict(kept(self.gifts))
        try:
            if not request:
                return json.dumps({str(step): path.stat().st_size for step, path in held.items()}).encode()
            step, offset, length = REQUEST.unpack(request)
            with held[step].open("rb") as file:
                return os.pread(file.fileno(), min(length, PIECE_BYTES), min(offset, 1 << 62))
        except (struct.error, KeyError, OSError):
            raise RefusedError("no such contribution") from None


def page_limit(control_bytes: int) -> int:
    """The largest page of the log, where a commit may take `control_bytes`."""
    return PAGE_BYTES + control_bytes + LENGTH.size * 64
