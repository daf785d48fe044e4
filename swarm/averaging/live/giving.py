"""What this peer gives: the core asks for it, the trainer offers it; where both mean the same round it is encoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from swarm.averaging.codec import Frame
from swarm.averaging.live.arithmetic import Arithmetic, Given
from swarm.averaging.live.delivery import Broken, Delivery, Offer
from swarm.averaging.live.kept import Keeper
from swarm.averaging.live.lag import Lag
from swarm.averaging.live.workers import Workers
from swarm.averaging.round.events import Contribute, Encode
from swarm.averaging.round.peer import Peer

Encoding = tuple[Contribute, Given | None, list[Frame], BaseException | None]
Feed = Callable[[Contribute, Given | None], None]


class Giving:
    """feed: takes the answer to Encode, with what was encoded for it. deliver: what is for the trainer."""

    def __init__(
        self,
        core: Peer,
        arithmetic: Arithmetic,
        workers: Workers,
        *,
        lag: Lag,
        feed: Feed,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self.core, self.arithmetic, self.workers = core, arithmetic, workers
        self.lag, self.feed, self.deliver = lag, feed, deliver
        self.keeper: Keeper | None = None  # of this peer's own contributions
        self.asked: Encode | None = None
        self.offered: Offer | None = None
        self._given: tuple[bytes, Given] | None = None  # the last one, and its base

    def ask(self, asked: Encode) -> None:
        """The core waits for the contribution to this round."""
        self.asked = asked
        self.encode()

    def offer(self, offer: Offer) -> None:
        """The trainer waits for the round of this step."""
        if not self.workers.closed:
            self.offered = offer
            self.encode()

    def withdraw(self) -> None:
        """What was offered is of a round that is decided, or of a state that was left."""
        self.offered = None

    def given(self, base: bytes) -> Given | None:
        """What was given to the round after `base`, if that was the last one."""
        return self._given[1] if self._given is not None and self._given[0] == base else None

    def encode(self) -> None:
        """Begin, if what is offered is what is asked for."""
        asked, offer, tip = self.asked, self.offered, self.core.log.tip
        if asked is None or asked.base != tip.head:
            self.asked = None
            return
        if offer is None or offer.step != tip.round or self.core.context.lagging or self.lag.why is not None:
            return
        self.asked = self.offered = None
        self.workers.in_order(partial(self._contribution, asked.base, offer), self._contribute)

    def _contribution(self, base: bytes, offer: Offer) -> Encoding:
        """In the arithmetic's thread. A contribution that cannot be encoded is none."""
        gift, state = offer.contribution, self.workers.frames.submit(offer.state)
        if gift.samples == 0 or gift.weight <= 0:
            return Contribute(base, samples=0, state=state.result()), None, [], None
        try:
            given, frames = self.arithmetic.encode(gift.vector)
        except Exception as error:  # a value that is not finite, or our bug: the trainer is told, the others go on
            return Contribute(base, state=state.result()), None, [], error
        told = Contribute(base, given.digests, given.norms, float(gift.weight), gift.samples, state.result())
        if self.keeper is not None:
            self.workers.frames.submit(self.keeper, base, offer.step, gift, frames)
        return told, given, frames, None

    def _contribute(self, result: Encoding) -> None:
        told, given, frames, error = result
        if given is not None:
            for digest, frame in zip(given.digests, frames, strict=True):
                self.arithmetic.parts.put(digest, frame)
            self._given = (told.base, given)
        self.feed(told, given)
        if error is not None:
            self.deliver(Broken(error))
