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
TRIP_PART = 4  # the trip may have been slower than the way with bytes: of that a fourth counts at least
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Way:
    """As measured from here. clock_seconds: how far the peer's clock is ahead of ours. Mbit/s from and to us."""

    peer_id: str
    trip_seconds: float
    clock_seconds: float
    upload_mbit: float
    download_mbit: float


def allowance() -> Allowance:
    return Allowance(EACH_BYTES, TOTAL_BYTES, WINDOW_SECONDS, least=LEAST_BYTES)


class Sounding:
    """The answering side. Its allowance counts both ways."""

    def __init__(self) -> None:
        self.allowance = allowance()
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
    trip, ahead = await _clock(streams, peer_id)
    upload = await _speed(lambda size: _ask(streams, peer_id, size, 0), trip)
    download = await _speed(lambda size: _ask(streams, peer_id, 0, size), trip)
    return Way(peer_id, trip, ahead, upload, download)


async def clock_of(streams: Streams, peer_id: str) -> float:
    """Seconds that the clock of `peer_id` is ahead of ours. PeerError."""
    return (await _clock(streams, peer_id))[1]


async def _clock(streams: Streams, peer_id: str) -> tuple[float, float]:
    """Of the quickest of a few trips, after one that also dials: its seconds, and how far the other clock is ahead."""
    await _ask(streams, peer_id, 0, 0)
    return min([await _trip(lambda: _ask(streams, peer_id, 0, 0)) for _ in range(TRIPS)])


async def _ask(streams: Streams, peer_id: str, up: int, down: int) -> float:
    """Move bytes; the peer's clock, Unix seconds."""
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


async def _trip(ask: Callable[[], Awaitable[float]]) -> tuple[float, float]:
    """Seconds there and back, and how far the other clock is ahead if both ways took as long."""
    wall, began = time.time(), time.perf_counter()
    clock = await ask()
    seconds = time.perf_counter() - began
    return seconds, clock - (wall + seconds / 2)


async def _speed(ask: Callable[[int], Awaitable[float]], trip: float) -> float:
    """Mbit/s in one direction."""
    mbit = 0.0
    for size in SIZES:
        began = time.perf_counter()
        await asyncio.gather(*(ask(size) for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - began
        mbit = AT_ONCE * size * 8e-6 / max(seconds - trip, seconds / TRIP_PART)
        if seconds > FAST_SECONDS:
            break
    return mbit
