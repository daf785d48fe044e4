"""One state, span by span, from several donors at once. Every span is checked by its digest before it counts.

A span comes from one donor alone, so that whoever gives a wrong one is known. A donor that lies, refuses, stalls or
goes away is given up, with the reason, and another takes its place; its spans go back to the queue. When the queue is
empty, who is done takes over what a much slower donor is still at, and whoever is overtaken is given up too.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from swarm.digest import Hasher
from swarm.errors import NetworkError
from swarm.network.failure import Cause, PeerError
from swarm.network.together import together

DONORS = 4  # asked at once
TAKERS = 3  # spans asked of one donor at once, so that a long way does not leave the link idle
HELD_BYTES = 64 << 20  # of spans under way, unless one span is more
FIRST_PIECE_BYTES, LEAST_PIECE_BYTES, PIECE_BYTES = 1 << 18, 1 << 16, 1 << 22
PIECE_SECONDS = 0.5  # a piece is what a donor gives in about so long
STALL_SECONDS = 15.0  # for a piece
SLOW_FACTOR = 4.0  # slower than the median by this, where others wait to be asked
TAKE_OVER_FACTOR, TAKE_OVER_SECONDS = 2.0, 0.5
LOOK_SECONDS = 0.1

Reason = Literal["digest", "slow", "stalled", "closed", "refused", "unreachable"]
Memory = Sequence[memoryview]  # bytes, one after another
Ask = Callable[[str, int, int, Memory, float], Coroutine[Any, Any, None]]
Place = Callable[[int], Memory]
Keep = Callable[[int, Memory], None]
Told = Callable[[int, int], None]  # (bytes that came, donors at work)
REASONS: dict[Cause, Reason] = {
    "timeout": "stalled",
    "too-large": "refused",
    "closed": "closed",
    "refused": "refused",
    "unreachable": "unreachable",
}


@dataclass(eq=False)
class Flight:
    """A span under way from one donor. memory: for all of it. came: so many bytes of it, which `hasher` has seen."""

    span: int
    began: float
    memory: Memory
    in_place: bool
    came: int = 0
    hasher: Hasher = field(default_factory=Hasher)

    def seconds_left(self, size: int, now: float) -> float:
        """At the pace so far; without an end where nothing has come."""
        return (size - self.came) * (now - self.began) / self.came if self.came else float("inf")


@dataclass(eq=False)
class Donor:
    name: str
    piece_bytes: int = FIRST_PIECE_BYTES
    bytes_given: int = 0
    span_seconds: float | None = None  # of its last span
    flights: list[Flight] = field(default_factory=list)
    work: asyncio.Task[None] | None = None


class GivenUpError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class Download:
    """digests: of all spans. sizes: their bytes. missing: which to fetch. Use in the network's loop, once.

    ask(donor, span, offset, memory, seconds): fill it with part of a span; PeerError. place(span): where its bytes are
    to go, also before they are checked; None: anywhere. keep(span, memory): called in another thread when they are,
    and not any more when `run` has ended. `given_up`: donor -> (reason, detail).
    """

    def __init__(
        self,
        digests: Sequence[bytes],
        sizes: Sequence[int],
        *,
        missing: Collection[int],
        ask: Ask,
        keep: Keep,
        place: Place | None = None,
    ) -> None:
        self.digests, self.sizes, self.ask, self.keep, self.place = digests, sizes, ask, keep, place
        self.placed: set[int] = set()  # spans that come straight to their place
        self.queue = deque(sorted(missing))
        self.missing = set(missing)
        self.active: list[Donor] = []
        self.given_up: dict[str, tuple[Reason, str]] = {}
        self.bytes_by_donor: Counter[str] = Counter()
        self.changed = asyncio.Event()
        self.keeping: set[asyncio.Future[None]] = set()
        largest = max(sizes, default=1)
        self.donors = max(1, min(DONORS, HELD_BYTES // largest))
        self.takers = max(1, min(TAKERS, HELD_BYTES // (largest * self.donors)))

    async def run(self, donors: Sequence[str], told: Told) -> None:
        """Until nothing is missing. NetworkError where no donor is left; what came is kept. Errors of `keep`."""
        self.told, self.spare = told, deque(dict.fromkeys(donors))
        try:
            while self.missing:
                self._hire()
                if not self.active:
                    causes = "; ".join(f"{name[-6:]}: {why}" for name, (_, why) in list(self.given_up.items())[:4])
                    raise NetworkError(
                        f"{len(self.missing)} of {len(self.digests)} spans could not be fetched "
                        f"({causes or 'nobody has them'}); those that came are kept"
                    )
                works = [donor.work for donor in self.active if donor.work is not None]
                await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
                for donor in [donor for donor in self.active if donor.work is not None and donor.work.done()]:
                    self._dismiss(donor)
        finally:
            works = [donor.work for donor in self.active if donor.work is not None]
            for work in works:
                work.cancel()
            await asyncio.gather(*works, *self.keeping, return_exceptions=True)

    # --- donors ------------------------------------------------------------------------------------------------------

    def _hire(self) -> None:
        while self.spare and len(self.active) < self.donors:
            donor = Donor(self.spare.popleft())
            self.active.append(donor)
            donor.work = asyncio.ensure_future(self._serve(donor))

    def _dismiss(self, donor: Donor) -> None:
        """Its work has ended: all that is left is in good hands, or it failed."""
        self.active.remove(donor)
        for flight in donor.flights:
            self._landed(flight)
            if flight.span in self.missing and not self._flown(flight.span):
                self.queue.appendleft(flight.span)
        donor.flights.clear()
        self.changed.set()
        assert donor.work is not None
        error = None if donor.work.cancelled() else donor.work.exception()
        if isinstance(error, PeerError):
            self.given_up[donor.name] = (reason_of(error), error.detail)
        elif isinstance(error, GivenUpError):
            self.given_up[donor.name] = (error.reason, str(error))
        elif error is not None:
            raise error

    def _flown(self, span: int) -> bool:
        return any(flight.span == span for donor in self.active for flight in donor.flights)

    async def _serve(self, donor: Donor) -> None:
        """PeerError, GivenUpError at its first failure."""
        await together(self._take(donor) for _ in range(self.takers))

    async def _take(self, donor: Donor) -> None:
        loop = asyncio.get_running_loop()
        while (span := await self._next(donor)) is not None:
            flight = self._flight(span, loop.time())
            donor.flights.append(flight)
            await self._fetch(donor, flight)
            if flight.span in self.missing:
                if flight.hasher.digest() != self.digests[span]:
                    raise GivenUpError("digest", f"gave bytes of span {span} that are not the certified ones")
                self._overtake(flight)
                await self._kept(flight)
            self._landed(flight)
            donor.flights.remove(flight)
            self._arrived(flight)
            self._judge(donor, loop.time() - flight.began)

    async def _next(self, donor: Donor) -> int | None:
        while self.missing:
            if self.queue:
                return self.queue.popleft()
            span = self._to_take_over(donor)
            if span is not None:
                return span
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue
        return None

    # --- spans -------------------------------------------------------------------------------------------------------

    async def _fetch(self, donor: Donor, flight: Flight) -> None:
        """Piece by piece; how large a piece is follows the donor's pace."""
        loop, size = asyncio.get_running_loop(), self.sizes[flight.span]
        while flight.came < size and flight.span in self.missing:
            length = min(donor.piece_bytes, size - flight.came)
            piece, began = [*cut(flight.memory, flight.came, length)], loop.time()
            await self.ask(donor.name, flight.span, flight.came, piece, STALL_SECONDS)
            for part in piece:
                flight.hasher.update(part)
            flight.came += length
            donor.bytes_given += length
            self.bytes_by_donor[donor.name] += length
            pace = length / max(loop.time() - began, 1e-3)
            donor.piece_bytes = max(LEAST_PIECE_BYTES, min(PIECE_BYTES, int(PIECE_SECONDS * pace)))

    def _flight(self, span: int, now: float) -> Flight:
        """One of those under way for a span may write to its place; whoever takes it over must not get in between."""
        if self.place is None or span in self.placed:
            return Flight(span, now, [np.empty(self.sizes[span], np.uint8).data], in_place=False)
        self.placed.add(span)
        return Flight(span, now, self.place(span), in_place=True)

    def _landed(self, flight: Flight) -> None:
        """It writes no more."""
        if flight.in_place:
            self.placed.discard(flight.span)

    async def _kept(self, flight: Flight) -> None:
        """Put it in its place. Goes on to its end in its thread where this is cancelled."""
        keeping = asyncio.get_running_loop().run_in_executor(None, self._keep, flight)
        self.keeping.add(keeping)
        keeping.add_done_callback(self.keeping.discard)
        await asyncio.shield(keeping)

    def _keep(self, flight: Flight) -> None:
        memory = flight.memory
        if self.place is not None and not flight.in_place:
            memory, done = self.place(flight.span), 0
            for part in memory:
                part[:] = b"".join(cut(flight.memory, done, len(part)))
                done += len(part)
        self.keep(flight.span, memory)

    def _arrived(self, flight: Flight) -> None:
        if flight.span in self.missing:
            self.missing.discard(flight.span)
            self.changed.set()
            self.told(self.sizes[flight.span], len(self.active))

    def _overtake(self, flight: Flight) -> None:
        """This one is there: whoever began earlier and is not done is given up, and writes nothing any more."""
        size = self.sizes[flight.span]
        for other in self.active:
            earlier = [each for each in other.flights if each.span == flight.span and each.began < flight.began]
            if any(each.came < size for each in earlier):
                self._overtaken(other)

    def _overtaken(self, other: Donor) -> None:
        """Somebody who began later has delivered what this one is still at."""
        if other.work is None or other.work.done():
            return
        reason: Reason = "slow" if other.bytes_given else "stalled"
        self.given_up[other.name] = (reason, "another donor was faster by far")
        other.work.cancel()

    def _judge(self, donor: Donor, seconds: float) -> None:
        """GivenUpError for one that is slower than the others by far, while somebody waits to take its place."""
        donor.span_seconds = seconds
        paces = sorted(other.span_seconds for other in self.active if other.span_seconds is not None)
        if self.spare and len(paces) > 2 and seconds > SLOW_FACTOR * paces[len(paces) // 2]:
            raise GivenUpError("slow", f"took {seconds:.1f} s for a span, the others {paces[len(paces) // 2]:.1f}")

    def _to_take_over(self, donor: Donor) -> int | None:
        """A span that a slower donor will take much longer for than this one would from its beginning."""
        if donor.span_seconds is None:
            return None
        now = asyncio.get_running_loop().time()
        patience = TAKE_OVER_FACTOR * donor.span_seconds + TAKE_OVER_SECONDS
        flights = [flight for other in self.active if other is not donor for flight in other.flights]
        often = Counter(flight.span for flight in flights)
        mine = {flight.span for flight in donor.flights}
        for flight in sorted(flights, key=lambda flight: flight.began):
            late = now - flight.began > patience
            if late and often[flight.span] == 1 and flight.span in self.missing - mine:
                left = flight.seconds_left(self.sizes[flight.span], now)
                if left > patience:
                    return flight.span
        return None


def cut(memory: Memory, offset: int, length: int) -> Iterator[memoryview]:
    """The parts of `memory` that hold its bytes from `offset` on."""
    for part in memory:
        piece = part[offset : offset + length]
        if len(piece):
            yield piece
        length -= len(piece)
        offset = max(0, offset - len(part))


def reason_of(error: PeerError) -> Reason:
    """Why a donor is given up that could not be asked."""
    return REASONS[error.cause]
