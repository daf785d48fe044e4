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
        """Whether `peer_id` may have `amount` more now; if so it is booked."""
        if self.clock() - self.began >= self.seconds:
            self.began, self.sum = self.clock(), 0
            self.taken.clear()
        amount = max(amount, self.least)
        if self.taken[peer_id] + amount > self.each or self.sum + amount > self.total:
            return False
        self.taken[peer_id] += amount
        self.sum += amount
        return True
