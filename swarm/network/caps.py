"""Caps on what a volunteer's line carries: bulk messages wait their turn, small ones (votes, questions) never do.

One bucket a direction for all streams of a peer, so that the cap holds however many of them are open. The daemon's own
traffic (pings, the DHT) is small and not capped.
"""

from __future__ import annotations

import asyncio

BULK_BYTES = 16_384  # a message of at least this size counts
SLICE_BYTES = 32_768  # sent or taken in one go, so that concurrent streams share the line
BURST_SECONDS = 0.05  # of the rate that may be caught up with after a pause
BYTES_PER_MBIT = 125_000


class Bucket:
    """A token bucket in the form of a timetable: each taker is told when its bytes are due (GCRA, ITU-T I.371)."""

    def __init__(self, mbit: float) -> None:
        self.bytes_per_second = mbit * BYTES_PER_MBIT
        self._next = 0.0  # when the next byte is due, in the loop's time

    async def take(self, size_bytes: int) -> None:
        """Wait until `size_bytes` more may pass; first come, first served."""
        now = asyncio.get_running_loop().time()
        due = max(self._next, now - BURST_SECONDS)
        self._next = due + size_bytes / self.bytes_per_second
        if due > now:
            await asyncio.sleep(due - now)


class Caps:
    """The two buckets of a peer, either of them None: no cap."""

    def __init__(self, upload_mbit: float | None = None, download_mbit: float | None = None) -> None:
        self.upload = Bucket(upload_mbit) if upload_mbit is not None else None
        self.download = Bucket(download_mbit) if download_mbit is not None else None


UNCAPPED = Caps()
