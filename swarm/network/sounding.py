"""How good the way between two peers is: round trip, speed each way, and how far apart their clocks are.

Every peer answers, within an allowance, so that a newcomer knows before it joins.

    request     bytes wanted (4, big-endian) | any bytes
    response    the answering peer's clock (8, big-endian double, Unix seconds) | as many bytes as were wanted
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from swarm.network.allowance import Allowance
from swarm.network.streams import PeerError, RefusedError, Streams

HANDLER = "sounding"
WANTED = struct.Struct(">I")
CLOCK = struct.Struct(">d")
MOST_BYTES = 1 << 20  # one way in one question
EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS, LEAST_BYTES = 24 << 20, 96 << 20, 60.0, 4096
TRIPS = 3
AT_ONCE = 4  # questions under way together, so that a long way does not leave the line idle
SIZES = (64 << 10, MOST_BYTES)  # the larger one only where the smaller went fast
FAST_SECONDS = 1.0
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Way:
    """As measured from here. clock_seconds: how far the peer's clock is ahead of ours. Mbit/s from and to us."""

    peer_id: str
    trip_seconds: float
    clock_seconds: float
    upload_mbit: float
    download_mbit: float


class Sounding:
    """The answering side."""

    def __init__(self) -> None:
        self.allowance = Allowance(EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS, least=LEAST_BYTES)
        self._blank = bytes(MOST_BYTES)

    async def answer(self, peer_id: str, request: bytearray) -> bytes:
        if len(request) < WANTED.size:
            raise RefusedError("a malformed request")
        (wanted,) = WANTED.unpack_from(request)
        if wanted > MOST_BYTES:
            raise RefusedError(f"{wanted} bytes wanted, {MOST_BYTES} are the most")
        if not self.allowance.take(peer_id, wanted + len(request)):
            raise RefusedError("asked too much; ask again in a minute")
        return CLOCK.pack(time.time()) + memoryview(self._blank)[:wanted]


async def measure(streams: Streams, peer_id: str) -> Way:
    """Ask `peer_id`, moving at most 4.3 MB each way. PeerError where it does not answer as it should."""

    async def ask(up: int, down: int) -> float:
        answer = await streams.call(
            peer_id,
            HANDLER,
            WANTED.pack(down),
            bytes(up),
            timeout_seconds=ANSWER_SECONDS,
            limit_bytes=CLOCK.size + MOST_BYTES,
        )
        if len(answer) != CLOCK.size + down:
            raise PeerError(peer_id, "refused", f"gave {len(answer) - CLOCK.size} of {down} bytes")
        clock = float(CLOCK.unpack_from(answer)[0])
        if not math.isfinite(clock):
            raise PeerError(peer_id, "refused", "has a clock that is no number")
        return clock

    await ask(0, 0)  # the first one also dials
    trip, ahead = min([await _trip(ask) for _ in range(TRIPS)])
    upload = await _speed(lambda size: ask(size, 0), trip)
    download = await _speed(lambda size: ask(0, size), trip)
    return Way(peer_id, trip, ahead, upload, download)


async def _trip(ask: Callable[[int, int], Awaitable[float]]) -> tuple[float, float]:
    """Seconds there and back, and how far the other clock is ahead if both ways took as long."""
    wall, began = time.time(), time.perf_counter()
    clock = await ask(0, 0)
    seconds = time.perf_counter() - began
    return seconds, clock - (wall + seconds / 2)


async def _speed(ask: Callable[[int], Awaitable[float]], trip: float) -> float:
    """Mbit/s in one direction."""
    mbit = 0.0
    for size in SIZES:
        began = time.perf_counter()
        await asyncio.gather(*(ask(size) for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - began
        mbit = AT_ONCE * size * 8e-6 / max(seconds - trip, 1e-4)
        if seconds > FAST_SECONDS:
            break
    return mbit
