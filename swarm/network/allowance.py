"""How much strangers may ask of us: so much each and so much in all, in every window of time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable


class Allowance:
    """`each`: units a peer, `total`: units in all, in every `seconds`. Identities are free, so the total is the bound.

    least: what any question costs, so that what is remembered of askers is bounded too.
    """

    def __init__(
        self, each: int, total: int, seconds: float, *, least: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.each, self.total, self.seconds, self.least, self.clock = each, total, seconds, least, clock
        self.began = clock()
        self.taken: Counter[str] = Counter()
        self.sum = 0

    def take(self, peer_id: str, amount: int) -> bool:
        """Whether `peer_id` may have `amount` more now, or at least what any question costs; if so it is booked."""
        return self._book(peer_id, max(amount, self.least))

    def take_more(self, peer_id: str, amount: int) -> bool:
        """The same for `amount` in all after the question's own cost was taken, when it is known how much it is."""
        return self._book(peer_id, max(amount - self.least, 0))

    def _book(self, peer_id: str, amount: int) -> bool:
        if self.clock() - self.began >= self.seconds:
            self.began, self.sum = self.clock(), 0
            self.taken.clear()
        if self.taken[peer_id] + amount > self.each or self.sum + amount > self.total:
            return False
        self.taken[peer_id] += amount
        self.sum += amount
        return True
