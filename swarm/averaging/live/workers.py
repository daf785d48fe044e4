"""The threads that work for the round, so that the network's loop waits for none of it; results come back to the loop.

One thread does the arithmetic, in order. Two more check and load frames, write to disk, and ask the trainer's side for
digests: work that waits for a disk or a checksum and may overtake.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from swarm.averaging.live.arithmetic import Arithmetic

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Workers:
    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        self.frames = ThreadPoolExecutor(2, "frames")
        self.closed = False
        self.loop: asyncio.AbstractEventLoop

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where results go."""
        self.loop = loop

    def in_order(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        """Do `work` after all arithmetic before it, and go on with its result in the loop."""
        if not self.closed:
            self._watch(self.arithmetic.submit(work), then)

    def aside(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        """Do `work` in another thread, in no order."""
        if not self.closed:
            self._watch(self.frames.submit(work), then)

    def _watch(self, future: Future[T], then: Callable[[T], None] | None) -> None:
        def done(future: Future[T]) -> None:
            if future.cancelled() or self.closed:
                return
            if (error := future.exception()) is not None:
                logger.error("work for the averaging round failed", exc_info=error)
            elif then is not None and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(then, future.result())

        future.add_done_callback(done)

    def close(self) -> None:
        self.closed = True
        self.arithmetic.close()
        self.frames.shutdown(wait=False, cancel_futures=True)
