"""The core's hands: feeds it events in the network's loop and does what it asks, one effect after another.

Nothing here decides anything about a round. All of it runs in the network's event loop except arithmetic, checks of
frames and disk, which come back to it as events.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from swarm.averaging.codec import Frame
from swarm.averaging.live.arithmetic import Arithmetic, Given
from swarm.averaging.live.caller import Caller
from swarm.averaging.live.delivery import Behind, Broken, Certified, Delivery, Offer
from swarm.averaging.live.figures import Figures
from swarm.averaging.live.inbound import MESSAGE, TALLY, Inbound
from swarm.averaging.live.journal import Journal
from swarm.averaging.live.kept import Keeper
from swarm.averaging.live.links import Bytes, Links, Opener
from swarm.averaging.live.store import Store
from swarm.averaging.live.tally import Told
from swarm.averaging.live.terms import Terms
from swarm.averaging.round import events
from swarm.averaging.round.messages import Outcome
from swarm.averaging.round.peer import Peer

TURN_SECONDS = 0.05
QUIET_SECONDS = 1.0  # when the log has not grown for so long, it has been followed to its end in any case
logger = logging.getLogger(__name__)
Encoding = tuple[events.Contribute, Given | None, list[Frame], BaseException | None]


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
        self.executor = ThreadPoolExecutor(2, "frames")
        self.figures = Figures()
        self.keeper: Keeper | None = None  # of this peer's own contributions
        self.asked: events.Encode | None = None
        self.offered: Offer | None = None
        self.given: tuple[bytes, Given] | None = None
        self.behind: str | None = None  # why the state must be fetched, from when that is known
        self.told_behind = False
        self.behind_at = self.grown_at = 0.0
        self.untaken = 0  # outcomes handed over whose means are still needed here
        self.part_times: tuple[bytes, float, float] = (b"", 0.0, 0.0)
        self.queue: deque[events.Event] = deque()
        self.feeding = self.closed = False
        self.timer: asyncio.TimerHandle | None = None

    # --- life --------------------------------------------------------------------------------------------------------

    def begin(self, opener: Opener) -> None:
        """In the network's loop, before anything else."""
        self.loop = asyncio.get_running_loop()
        self.links = Links(opener, lambda peer: self.feed(events.Lost(peer)), 4 * len(self.terms.spans) + 64)
        self.inbound = Inbound(
            self.terms,
            {"part": self.parts, "mean": self.means},
            self.executor,
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
        self.closed = True  # what still comes in finds no thread to work for it any more
        await self.links.close()
        if self.timer is not None:
            self.timer.cancel()
        self.inbound.close()
        self.arithmetic.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
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
        if self.behind is not None and not self.told_behind and self._followed(now):
            self.told_behind = True
            self.deliver(Behind(self.behind))

    def _followed(self, now: float) -> bool:
        """Is there nothing more to hear? A swarm with rounds of less than a second is never quiet."""
        last, tip = self.core.log.chain[-1], self.core.log.tip
        told = last.commit is not None and last.commit.tip <= last.position.round
        stays = self.caller.tally.mostly_at(now, tip.round) and now - self.behind_at > QUIET_SECONDS
        return told or stays or now - self.grown_at > QUIET_SECONDS

    def _call(self) -> None:
        tip = self.core.log.tip
        if self.core.context.lagging:
            return
        due = self.caller.due(self.loop.time(), tip, self.core.context.me.incarnation)
        if due is not None:
            self.feed(due)

    # --- events ------------------------------------------------------------------------------------------------------

    def feed(self, event: events.Event) -> None:
        """Give an event to the core and do what it asks; what that leads to comes after it."""
        self.queue.append(event)
        if self.feeding or self.closed:
            return
        self.feeding = True
        try:
            while self.queue:
                tip = self.core.log.tip
                for effect in self.core.step(self.loop.time(), self.queue.popleft()):
                    self._do(effect)
                if self.core.log.tip is not tip:
                    self.grown_at = self.loop.time()
                    self.journal.follow(self.core.log)
                    self._encode()
        finally:
            self.feeding = False

    def received(self, event: events.Event) -> None:
        if isinstance(event, events.Received) and event.held is not None:
            base, now = self.core.log.tip.head, self.loop.time()
            first = self.part_times[1] if self.part_times[0] == base else now
            self.part_times = (base, first, now)
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
        self.behind, self.told_behind, self.offered = None, False, None
        self.feed(events.Restored(head))

    # --- effects -----------------------------------------------------------------------------------------------------

    def _do(self, effect: events.Effect) -> None:
        match effect:
            case events.Send(to, data, None):
                self.links.send(to, MESSAGE + data)
            case events.Send(to, data, (store, digest)):
                load = partial(self._load, self.parts if store == "part" else self.means, digest)
                self.links.send(to, data, ((store, digest), load))
            case events.Wake(at):
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = self.loop.call_at(at, self.feed, events.Tick())
            case events.Count(name):
                self.figures.counts[name] += 1
            case events.Encode():
                self.asked = effect
                self._encode()
            case events.Compute():
                self._run(partial(self.arithmetic.reduce, effect), partial(self._computed, effect))
            case events.Settle():
                self._run(partial(self.arithmetic.settle, effect))
            case events.Apply(outcome, head, included):
                self._apply(outcome, head, included)
            case events.Release(store, digests):
                (self.parts if store == "part" else self.means).release(digests)
            case events.Restore(_, _, download, lost):
                self.figures.lost_rounds += lost
                self.behind = "behind: the swarm is further" if download else "behind: another lineage weighs more"
                self.told_behind, self.behind_at = False, self.loop.time()
            case events.Recall(to, heads):
                for wire in self.journal.page(heads, self.core.log.tip.round):
                    self.links.send(to, MESSAGE + wire)
            case _:
                self._note(effect)

    def _note(self, effect: events.Effect) -> None:
        match effect:
            case events.Forked(lineage, round_):
                if round_ > 1 and self._was_in():  # a run's first round is a fork of genesis by rule
                    self.figures.forks += 1
                    logger.warning("round %d: no quorum answered; going on as lineage %s", round_, lineage.hex()[:12])
            case events.Diverged(indices):
                self.figures.agreement = False
                self.behind = self.behind or f"behind: the state differs from the majority's in {len(indices)} places"
            case events.Missed(why):
                logger.info("a contribution was not used: %s", why)
            case events.Proof(peer, first, second):
                self._run_off(partial(self._keep_proof, peer, first.wire, second.wire))

    def _was_in(self) -> bool:
        """Is this process in the roster of the last round? Forks in a log that is only followed are history."""
        commit, me = self.core.log.chain[-1].commit, self.core.context.me
        headers = [ready.message.at for ready in commit.outcome.readys] if commit is not None else []
        return any((at.peer, at.incarnation) == (me.peer, me.incarnation) for at in headers)

    def _keep_proof(self, peer: str, first: bytes, second: bytes) -> None:
        if self.folder is not None:
            place = self.folder / "proofs"
            place.mkdir(exist_ok=True)
            for number, wire in enumerate((first, second)):
                (place / f"{peer}-{first[-8:].hex()}-{number}").write_bytes(wire)

    async def _load(self, store: Store, digest: bytes) -> Bytes | None:
        frame = store.memory.get(digest)
        return frame if frame is not None else await self.loop.run_in_executor(self.executor, store.get, digest)

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def _run(self, work: Callable[[], Any], then: Callable[[Any], None] | None = None) -> None:
        """Do `work` after all arithmetic before it, and go on with its result in the loop."""
        if not self.closed:
            self._watch(self.arithmetic.submit(work), then)

    def _run_off(self, work: Callable[[], Any], then: Callable[[Any], None] | None = None) -> None:
        """Do `work` in another thread, in no order."""
        if not self.closed:
            self._watch(self.executor.submit(work), then)

    def _watch(self, future: Future[Any], then: Callable[[Any], None] | None) -> None:
        def done(future: Future[Any]) -> None:
            if future.cancelled() or self.closed:
                return
            if (error := future.exception()) is not None:
                logger.error("work for the averaging round failed", exc_info=error)
            elif then is not None and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(then, future.result())

        future.add_done_callback(done)

    def offer(self, offer: Offer) -> None:
        """The trainer waits for the round of this step."""
        if not self.closed:
            self.offered = offer
            self._encode()

    def _encode(self) -> None:
        asked, offer, tip = self.asked, self.offered, self.core.log.tip
        if asked is None or asked.base != tip.head:
            self.asked = None
            return
        if offer is None or offer.step != tip.round or self.core.context.lagging or self.behind is not None:
            return
        self.asked = self.offered = None
        self._run(partial(self._contribution, asked.base, offer), self._contribute)

    def _contribution(self, base: bytes, offer: Offer) -> Encoding:
        """In the arithmetic's thread. A contribution that cannot be encoded is none."""
        gift, state = offer.contribution, self.executor.submit(offer.state)
        if gift.samples == 0 or gift.weight <= 0:
            return events.Contribute(base, samples=0, state=state.result()), None, [], None
        try:
            given, frames = self.arithmetic.encode(gift.vector)
        except Exception as error:  # a value that is not finite, or our bug: the trainer is told, the others go on
            return events.Contribute(base, state=state.result()), None, [], error
        told = events.Contribute(base, given.digests, given.norms, float(gift.weight), gift.samples, state.result())
        if self.keeper is not None:
            self.executor.submit(self.keeper, base, offer.step, gift, frames)
        return told, given, frames, None

    def _contribute(self, result: Encoding) -> None:
        told, given, frames, error = result
        if given is not None:
            for digest, frame in zip(given.digests, frames, strict=True):
                self.parts.put(digest, frame)
            self.given = (told.base, given)
            self.figures.residual_norm = math.sqrt(given.quality.squared_error)
        self.figures.ready_at = self.loop.time()
        self.feed(told)
        if error is not None:
            self.deliver(Broken(error))

    def _computed(self, work: events.Compute, made: tuple[bytes, Frame] | None) -> None:
        if work.base != self.core.log.tip.head:
            self._run(partial(self.arithmetic.forget, work))
        if made is not None:
            self.means.put(*made)
            self.feed(events.Computed(work.base, work.ballot, work.span, made[0]))

    # --- outcomes ----------------------------------------------------------------------------------------------------

    def _apply(self, outcome: Outcome, head: bytes, included: bool) -> None:
        """Hand the outcome over once the residuals are settled; its means may leave memory."""
        digests = [span.digest for span in outcome.spans if not span.void]
        self.means.pin(digests)
        given = self.given[1] if self.given is not None and self.given[0] == outcome.base else None
        entry = self.core.log.chain[self.core.log.index[head]]
        position = entry.position
        if entry.commit is not None and {vote.message.at.peer for vote in entry.commit.votes} == {
            self.core.context.me.peer
        }:
            self.means.keep(digests)  # nobody else is bound to hold them: they come before word of the certificate
        index = outcome.index(self.core.context.me.peer)
        included = included and index is not None and outcome.included[index]
        if included and self.behind is None:
            self.figures.agreement = True
        self.figures.applied_at = self.loop.time()
        self.figures.lineage, self.figures.head, self.figures.waited = position.lineage.hex(), head.hex(), 0.0
        if self.part_times[0] == outcome.base:
            self.figures.arrival_spread = self.part_times[2] - self.part_times[1]
            self.figures.waited = max(0.0, self.part_times[1] - self.figures.ready_at)
        self.offered = None
        self.journal.follow(self.core.log)  # whoever is told of a round finds it after a kill
        certified = Certified(outcome, position, included, given)
        self._run(lambda: self.deliver(certified))
        if self.untaken:  # the trainer is behind: not all that waits for it may stay in memory
            self._spill(digests)
        self.untaken += 1

    def taken(self, digests: list[bytes]) -> None:
        """The trainer has what it needs of these means: they may leave memory."""
        self.untaken -= 1
        self.means.unpin(digests)
        self._spill(digests)

    def _spill(self, digests: list[bytes]) -> None:
        self._run_off(partial(self.means.spill, digests), self.means.spilled)
