"""The core's hands: feeds it events in the network's loop and does what it asks, one effect after another.

Nothing here decides anything about a round. All of it runs in the network's event loop; arithmetic, checks of frames
and disk have threads of their own (`workers`) and come back as events. `giving` is the way from the trainer into the
round, `handover` the way back, `inbound` and `links` the ways from and to the other peers.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from swarm.averaging.codec import Frame
from swarm.averaging.live.arithmetic import Arithmetic, Given
from swarm.averaging.live.caller import Caller
from swarm.averaging.live.delivery import Behind, Broken, Delivery
from swarm.averaging.live.figures import Arrivals, Figures
from swarm.averaging.live.giving import Giving
from swarm.averaging.live.handover import Handover
from swarm.averaging.live.inbound import MESSAGE, TALLY, Inbound
from swarm.averaging.live.journal import Journal
from swarm.averaging.live.lag import Lag
from swarm.averaging.live.links import Bytes, Links, Opener
from swarm.averaging.live.proofs import keep_proof
from swarm.averaging.live.store import Store
from swarm.averaging.live.tally import Told
from swarm.averaging.live.terms import Terms
from swarm.averaging.live.workers import Workers
from swarm.averaging.round import events
from swarm.averaging.round.peer import Peer

TURN_SECONDS = 0.05
logger = logging.getLogger(__name__)


class Driver:
    """deliver: takes what is for the trainer, in order, from any thread."""

    def __init__(
        self, core: Peer, terms: Terms, caller: Caller, folder: Path | None, deliver: Callable[[Delivery], None]
    ) -> None:
        self.core, self.terms, self.caller, self.folder, self.deliver = core, terms, caller, folder, deliver
        self.parts = Store(None)
        self.means = Store(folder / "means" if folder else None)
        self.journal = Journal(folder / "log" if folder else None)
        self.arithmetic = Arithmetic(terms, self.parts, self.means)
        self.workers = Workers(self.arithmetic)
        self.figures, self.arrivals, self.lag = Figures(), Arrivals(), Lag()
        self.giving = Giving(core, self.arithmetic, self.workers, lag=self.lag, feed=self._contribute, deliver=deliver)
        self.handover = Handover(core, self.means, self.journal, self.workers, deliver)
        self.queue: deque[events.Event] = deque()
        self.feeding = False
        self.timer: asyncio.TimerHandle | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def begin(self, opener: Opener) -> None:
        """In the network's loop, before anything else."""
        self.loop = asyncio.get_running_loop()
        self.workers.begin(self.loop)
        self.links = Links(opener, lambda peer: self.feed(events.Lost(peer)), 4 * len(self.terms.spans) + 64)
        self.inbound = Inbound(
            self.terms,
            {"part": self.parts, "mean": self.means},
            self.workers.frames,
            self.figures.counts,
            feed=self.received,
            heard=self.heard,
            expecting=self.expecting,
        )
        self.turning = asyncio.ensure_future(self._turns())
        self.turning.add_done_callback(self._turned)

    async def end(self) -> None:
        """Tell the others, and stop."""
        self.turning.cancel()
        self.feed(events.Leave())
        await self.links.flush(1.0)
        self.workers.closed = True  # what still comes in finds no thread to work for it any more
        await self.links.close()
        if self.timer is not None:
            self.timer.cancel()
        self.inbound.close()
        self.workers.close()
        self.journal.close()

    async def _turns(self) -> None:
        """What happens by itself: telling how far we are, calling a round, noticing that the log was followed."""
        while True:
            self._turn()
            await asyncio.sleep(TURN_SECONDS)

    def _turned(self, turning: asyncio.Task[None]) -> None:
        """Without its turns a peer would call no round and wait for ever: the trainer is told instead."""
        if not turning.cancelled() and (error := turning.exception()) is not None:
            logger.error("the averaging round has stopped", exc_info=error)
            self.deliver(Broken(error))

    def _turn(self) -> None:
        now, tip = self.loop.time(), self.core.log.tip
        told = self.caller.telling(now, tip)
        if told is not None:
            audience = self.caller.audience(tip)
            for peer in audience:
                self.links.send(peer, TALLY + told.to_bytes())
            self.links.keep_only({*audience, *self.core.context.audience(tip)})
        self._call()
        if (why := self.lag.news(now, self.core.log, self.caller.tally)) is not None:
            self.lag.told = True
            self.deliver(Behind(why))

    def _call(self) -> None:
        if self.core.context.lagging:
            return
        due = self.caller.due(self.loop.time(), self.core.log.tip, self.core.context.me.incarnation)
        if due is not None:
            self.feed(due)

    # --- events ------------------------------------------------------------------------------------------------------

    def feed(self, event: events.Event) -> None:
        """Give an event to the core and do what it asks; what that leads to comes after it."""
        self.queue.append(event)
        if self.feeding or self.workers.closed:
            return
        self.feeding = True
        try:
            while self.queue:
                tip = self.core.log.tip
                for effect in self.core.step(self.loop.time(), self.queue.popleft()):
                    self._do(effect)
                if self.core.log.tip is not tip:
                    self.lag.grown_at = self.loop.time()
                    self.journal.follow(self.core.log)
                    self.giving.encode()
        finally:
            self.feeding = False

    def received(self, event: events.Event) -> None:
        if isinstance(event, events.Received) and event.held is not None:
            self.arrivals.come(self.loop.time(), self.core.log.tip.head)
        self.feed(event)

    def heard(self, peer: str, told: Told) -> None:
        self.caller.tally.hear(self.loop.time(), peer, told)
        self.feed(events.Heard(peer, told.base))
        self._call()

    def expecting(self, peer: str) -> bool:
        context, tip = self.core.context, self.core.log.tip
        return peer in tip.seats or peer in context.expected or peer in context.visitors or peer in self._rostered()

    def _rostered(self) -> set[str]:
        roster = self.core.member.roster
        return {ready.message.at.peer for ready in roster.message.readys} if roster is not None else set()

    def note(self, now: float, step: int, samples: int) -> None:
        """From the trainer, after each micro-batch, at the time it ended: this loop may be late."""
        self.caller.note(now, step, samples)
        self._turn()

    def restored(self, head: bytes) -> None:
        """The shared state now is the one at this head."""
        self.lag.ends()
        self.giving.withdraw()
        self.feed(events.Restored(head))

    # --- effects -----------------------------------------------------------------------------------------------------

    def _do(self, effect: events.Effect) -> None:
        match effect:
            case events.Send(to, data, None):
                self.links.send(to, MESSAGE + data)
            case events.Send(to, data, events.Payload(store, digest) as payload):
                self.links.send(to, data, (payload, partial(self._load, self._store(store), digest)))
            case events.Wake(at):
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = self.loop.call_at(at, self.feed, events.Tick())
            case events.Count(name):
                self.figures.counts[name] += 1
            case events.Encode():
                self.giving.ask(effect)
            case events.Compute():
                self.workers.in_order(partial(self.arithmetic.reduce, effect), partial(self._computed, effect))
            case events.Settle():
                self.workers.in_order(partial(self.arithmetic.settle, effect))
            case events.Apply():
                self._apply(effect)
            case events.Release(store, digests):
                self._store(store).release(digests)
            case events.Restore(_, _, download, lost):
                self.figures.lost_rounds += lost
                why = "behind: the swarm is further" if download else "behind: another lineage weighs more"
                self.lag.falls(self.loop.time(), why)
            case events.Recall(to, heads):
                for wire in self.journal.page(heads, self.core.log.tip.round) if self.links.takes(to) else ():
                    self.links.send(to, MESSAGE + wire)
            case _:
                self._note(effect)

    def _note(self, effect: events.Effect) -> None:
        match effect:
            case events.Forked(lineage, round_):
                if round_ > 1 and self._was_in():  # a run's first round is a fork of genesis by rule
                    self.figures.forks += 1
                    logger.info("round %d: no quorum answered; going on as lineage %s", round_, lineage.hex()[:12])
            case events.Diverged(indices):
                self.figures.agreement = False
                self.lag.why = self.lag.why or f"behind: the state differs from the majority's in {len(indices)} places"
            case events.Missed(why):
                logger.info("a contribution was not used: %s", why)
            case events.Proof() if self.folder is not None:
                self.workers.aside(partial(keep_proof, self.folder / "proofs", effect))

    def _was_in(self) -> bool:
        """Is this process in the roster of the last round? Forks in a log that is only followed are history."""
        commit, me = self.core.log.chain[-1].commit, self.core.context.me
        headers = [ready.message.at for ready in commit.outcome.readys] if commit is not None else []
        return any((at.peer, at.incarnation) == (me.peer, me.incarnation) for at in headers)

    def _store(self, name: events.Store) -> Store:
        return self.parts if name == "part" else self.means

    async def _load(self, store: Store, digest: bytes) -> Bytes | None:
        frame = store.memory.get(digest)
        return frame if frame is not None else await self.loop.run_in_executor(self.workers.frames, store.get, digest)

    def _contribute(self, told: events.Contribute, given: Given | None) -> None:
        if given is not None:
            self.figures.residual_norm = math.sqrt(given.quality.squared_error)
        self.figures.ready_at = self.loop.time()
        self.feed(told)

    def _computed(self, work: events.Compute, made: tuple[bytes, Frame] | None) -> None:
        if work.base != self.core.log.tip.head:
            self.workers.in_order(partial(self.arithmetic.forget, work))
        if made is not None:
            self.means.put(*made)
            self.feed(events.Computed(work.base, work.ballot, work.span, made[0]))

    def _apply(self, effect: events.Apply) -> None:
        base = effect.outcome.base
        certified = self.handover.secure(effect, self.giving.given(base))
        self.giving.withdraw()
        if certified.included and self.lag.why is None:
            self.figures.agreement = True
        self.figures.decided(self.loop.time(), certified.position, self.arrivals.of(base))
        self.handover.give(certified)
