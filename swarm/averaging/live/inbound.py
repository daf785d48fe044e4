"""What comes in: sizes are checked first, payloads are checked off the loop, and the core gets what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Protocol

from swarm.averaging.codec import CodecError, frame_bytes
from swarm.averaging.live.arithmetic import checked
from swarm.averaging.live.links import HEAD, payload_at
from swarm.averaging.live.store import Store
from swarm.averaging.live.tally import Told
from swarm.averaging.live.terms import PART_MESSAGE_BYTES, Terms
from swarm.averaging.round.events import Event, Held, Received
from swarm.averaging.round.messages import Envelope, Mean, MessageError, Part
from swarm.averaging.round.reading import parse

MESSAGE, TALLY = b"\x00", b"\x01"  # first byte on the control lane
CHECKS = 16  # payloads checked at once; then the streams wait
Look = Future[tuple[bytes, float]]


class Expecting(Protocol):
    """Whose parts are taken: strangers' are refused unread."""

    def __call__(self, peer: str) -> bool: ...


class Inbound:
    def __init__(
        self,
        terms: Terms,
        stores: dict[str, Store],
        executor: Executor,
        counts: Counter[str],
        *,
        feed: Callable[[Event], None],
        heard: Callable[[str, Told], None],
        expecting: Expecting,
    ) -> None:
        self.terms, self.stores, self.executor, self.counts = terms, stores, executor, counts
        self.feed, self.heard, self.expecting = feed, heard, expecting
        self.turns = asyncio.Semaphore(CHECKS)
        self.checks: set[Look] = set()
        self.closed = False

    async def control(self, sender: str, message: bytearray) -> None:
        """A message of the round, or a tally."""
        data = bytes(memoryview(message)[HEAD.size :])
        if len(message) < HEAD.size or HEAD.unpack_from(message)[0] != len(data):
            self.counts["size"] += 1
        elif data[:1] == MESSAGE:
            self.feed(Received(sender, data[1:]))
        else:
            try:
                self.heard(sender, Told.from_bytes(data[1:]))
            except ValueError:
                self.counts["tally"] += 1

    async def bulk(self, sender: str, message: bytearray) -> None:
        """A part or a mean with its payload; the next is read while this one is checked."""
        opened = self._open(sender, message)
        if isinstance(opened, str):
            self.counts[opened] += 1
            return
        await self.turns.acquire()
        if self.closed:  # this peer is leaving: nobody is there to check it
            self.turns.release()
            return
        envelope, payload, span = opened
        measure, loop = isinstance(envelope.message, Part), asyncio.get_running_loop()
        look: Look = self.executor.submit(checked, self.terms, payload, span, measure=measure)
        self.checks.add(look)
        look.add_done_callback(partial(_back, loop, partial(self._looked, sender, envelope, payload)))

    def _open(self, sender: str, message: bytearray) -> tuple[Envelope, memoryview, int] | str:
        """The message, its payload, and the span whose size the payload has; or why it is refused."""
        size = HEAD.unpack_from(message)[0] if len(message) >= HEAD.size else 0
        view = memoryview(message)
        payload = view[payload_at(size) :]
        if not 0 < size <= PART_MESSAGE_BYTES or len(payload) not in self.terms.frame_sizes:
            return "size"
        try:
            envelope = parse(bytes(view[HEAD.size : HEAD.size + size]))
        except MessageError as error:
            return f"malformed_{error.reason}"
        content = envelope.message
        if not isinstance(content, Part | Mean) or content.at.run != self.terms.run:
            return "kind"
        if isinstance(content, Part) and not self.expecting(sender):
            return "stranger_part"
        span = content.span if isinstance(content, Part) else self._span_of(len(payload))
        fits = span < len(self.terms.spans) and len(payload) == frame_bytes(self.terms.codec, self.terms.values(span))
        return (envelope, payload, span) if fits else "size"

    def _span_of(self, size: int) -> int:
        """A span whose frame has this many bytes."""
        last = len(self.terms.spans) - 1
        return last if size == frame_bytes(self.terms.codec, self.terms.values(last)) else 0

    def _looked(self, sender: str, envelope: Envelope, payload: memoryview, look: Look) -> None:
        """Its check is over: what is good goes into its store and to the core."""
        self.turns.release()
        self.checks.discard(look)
        if self.closed or look.cancelled():
            return
        content = envelope.message
        assert isinstance(content, Part | Mean)
        try:
            digest, norm = look.result()
        except CodecError:
            self.counts["bad_frame"] += 1
            return
        if digest != content.digest:
            self.counts["bad_digest"] += 1
            return
        self.stores["part" if isinstance(content, Part) else "mean"].put(digest, payload)
        self.feed(Received(sender, envelope, Held(digest, norm)))

    def close(self) -> None:
        self.closed = True
        for look in list(self.checks):
            look.cancel()


def _back(loop: asyncio.AbstractEventLoop, then: Callable[[Look], None], look: Look) -> None:
    """From the thread that has looked. A task and a future of the loop for each payload would cost as much again."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(then, look)
