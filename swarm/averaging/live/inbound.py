"""What comes in: sizes are checked first, payloads are checked off the loop, and the core gets what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from swarm.averaging.codec import CodecError, frame_bytes
from swarm.averaging.live.arithmetic import checked
from swarm.averaging.live.links import HEAD, payload_at
from swarm.averaging.live.store import Store
from swarm.averaging.live.tally import Told
from swarm.averaging.live.terms import PART_MESSAGE_BYTES, Terms
from swarm.averaging.round.events import Event, Held, Received
from swarm.averaging.round.messages import Mean, Message, MessageError, Part
from swarm.averaging.round.reading import parse

MESSAGE, TALLY = b"\x00", b"\x01"  # first byte on the control lane
CHECKS = 16  # payloads checked at once; then the streams wait


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
        self.tasks: set[asyncio.Task[None]] = set()
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
        task = asyncio.ensure_future(self._check(sender, *opened))
        self.tasks.add(task)
        task.add_done_callback(self._checked)

    def _open(self, sender: str, message: bytearray) -> tuple[bytes, Message, memoryview, int] | str:
        """The message, its payload, and the span whose size the payload has; or why it is refused."""
        size = HEAD.unpack_from(message)[0] if len(message) >= HEAD.size else 0
        view = memoryview(message)
        payload = view[payload_at(size) :]
        if not 0 < size <= PART_MESSAGE_BYTES or len(payload) not in self.terms.frame_sizes:
            return "size"
        data = bytes(view[HEAD.size : HEAD.size + size])
        try:
            content = parse(data).message
        except MessageError as error:
            return f"malformed_{error.reason}"
        if not isinstance(content, Part | Mean) or content.at.run != self.terms.run:
            return "kind"
        if isinstance(content, Part) and not self.expecting(sender):
            return "stranger_part"
        span = content.span if isinstance(content, Part) else self._span_of(len(payload))
        fits = span < len(self.terms.spans) and len(payload) == frame_bytes(self.terms.codec, self.terms.values(span))
        return (data, content, payload, span) if fits else "size"

    def _span_of(self, size: int) -> int:
        """A span whose frame has this many bytes."""
        last = len(self.terms.spans) - 1
        return last if size == frame_bytes(self.terms.codec, self.terms.values(last)) else 0

    async def _check(self, sender: str, data: bytes, content: Message, payload: memoryview, span: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            work = partial(checked, self.terms, payload, span, measure=isinstance(content, Part))
            digest, norm = await loop.run_in_executor(self.executor, work)
        except CodecError:
            self.counts["bad_frame"] += 1
            return
        assert isinstance(content, Part | Mean)
        if digest != content.digest:
            self.counts["bad_digest"] += 1
            return
        self.stores["part" if isinstance(content, Part) else "mean"].put(digest, payload)
        self.feed(Received(sender, data, Held(digest, norm)))

    def _checked(self, task: asyncio.Task[None]) -> None:
        self.turns.release()
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a payload's check failed", "exception": error}
            )

    def close(self) -> None:
        self.closed = True
        for task in list(self.tasks):
            task.cancel()
