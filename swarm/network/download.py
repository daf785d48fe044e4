"""One state, span by span, from several donors at once. Every span is checked by its digest before it is kept.

A span comes from one donor alone, so that whoever gives a wrong one is known. A donor that lies, refuses, stalls or
goes away is given up, with the reason, and another takes its place; its spans go back to the queue. When the queue is
empty, who is done takes over what a much slower donor is still at, and whoever is overtaken is given up too.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from swarm.digest import content_digest
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
Ask = Callable[[str, int, int, int, float], Coroutine[Any, Any, "bytes | bytearray"]]
Keep = Callable[[int, bytearray], None]
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
    """A span under way from one donor."""

    span: int
    began: float
    came: bytearray = field(default_factory=bytearray)

    def seconds_left(self, size: int, now: float) -> float:
        """At the pace so far; without an end where nothing has come."""
        return (size - len(self.came)) * (now - self.began) / len(self.came) if self.came else float("inf")


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

    ask(donor, span, offset, length, seconds): part of a span, PeerError. keep(span, bytes): called in another thread
    with what has passed the check, and not any more when `run` has ended. `given_up`: donor -> (reason, detail).
    """

    def __init__(
        self, digests: Sequence[bytes], sizes: Sequence[int], *, missing: Collection[int], ask: Ask, keep: Keep
    ) -> None:
        self.digests, self.sizes, self.ask, self.keep = digests, sizes, ask, keep
        self.queue = deque(sorted(missing))
        self.missing = set(missing)
        self.active: list[Donor] = []
        self.given_up: dict[str, tuple[Reason, str]] = {}
        self.bytes_by_donor: Counter[str] = Counter()
        self.changed = asyncio.Event()
        self.checking: set[asyncio.Future[bool]] = set()
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
            await asyncio.gather(*works, *self.checking, return_exceptions=True)

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
            flight = Flight(span, loop.time())
            donor.flights.append(flight)
            await self._fetch(donor, flight)
            if flight.span in self.missing and not await self._checked(flight):
                raise GivenUpError("digest", f"gave bytes of span {span} that are not the certified ones")
            donor.flights.remove(flight)
            self._arrived(donor, flight)
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
        while len(flight.came) < size and flight.span in self.missing:
            length = min(donor.piece_bytes, size - len(flight.came))
            began = loop.time()
            piece = await self.ask(donor.name, flight.span, len(flight.came), length, STALL_SECONDS)
            if len(piece) != length:
                raise GivenUpError("refused", f"gave {len(piece)} of {length} bytes")
            if flight.came or not isinstance(piece, bytearray):
                flight.came += piece
            else:
                flight.came = piece  # often the whole span: not copied
            donor.bytes_given += length
            self.bytes_by_donor[donor.name] += length
            pace = length / max(loop.time() - began, 1e-3)
            donor.piece_bytes = max(LEAST_PIECE_BYTES, min(PIECE_BYTES, int(PIECE_SECONDS * pace)))

    async def _checked(self, flight: Flight) -> bool:
        """Is it right? Then it is kept. Goes on to its end in its thread where this is cancelled."""
        check = asyncio.get_running_loop().run_in_executor(None, self._check, flight)
        self.checking.add(check)
        check.add_done_callback(self.checking.discard)
        return await asyncio.shield(check)

    def _check(self, flight: Flight) -> bool:
        if content_digest(flight.came) != self.digests[flight.span]:
            return False
        if flight.span in self.missing:
            self.keep(flight.span, flight.came)
        return True

    def _arrived(self, donor: Donor, flight: Flight) -> None:
        if flight.span not in self.missing:
            return
        self.missing.discard(flight.span)
        self.changed.set()
        self.told(self.sizes[flight.span], len(self.active))
        for other in self.active:
            if any(each.span == flight.span and each.began < flight.began for each in other.flights):
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


def reason_of(error: PeerError) -> Reason:
    """Why a donor is given up that could not be asked."""
    return REASONS[error.cause]
