"""`Averager` over the round of docs/protocol.md: what the trainer's thread sees of it.

The round itself lives in the network's loop (`driver`). The two meet in two places only: an offer goes in, outcomes
come out of a queue in log order, and each is handed over exactly once, to the state it follows.
"""

from __future__ import annotations

import queue
import secrets
import time
from pathlib import Path
from typing import Any

from swarm.averaging.averager import Averaged, Contribution, Missed
from swarm.averaging.averager import Outcome as Result
from swarm.averaging.codec import NonFiniteError
from swarm.averaging.encoded_mean import EncodedMean
from swarm.averaging.live.caller import Caller
from swarm.averaging.live.delivery import Behind, Broken, Certified, Delivery, Offer
from swarm.averaging.live.door import crypto_of
from swarm.averaging.live.driver import Driver
from swarm.averaging.live.figures import Figures
from swarm.averaging.live.links import PURPOSE
from swarm.averaging.live.positions import CertifiedState, certified_states
from swarm.averaging.live.residuals import load_residuals, save_residuals
from swarm.averaging.live.results import Meter, members_of
from swarm.averaging.live.revival import replay
from swarm.averaging.live.start import Start, Surroundings
from swarm.averaging.live.terms import Digests, Root, terms_of
from swarm.averaging.round import events
from swarm.averaging.round.certificate import Position
from swarm.averaging.round.context import Self
from swarm.averaging.round.log import Log
from swarm.averaging.round.messages import Outcome
from swarm.averaging.round.peer import Peer
from swarm.errors import NetworkError
from swarm.model.layout import Layout
from swarm.network.host import Network
from swarm.run.manifest import Manifest
from swarm.run.schema import TrainingSpec

LOOK_SECONDS = 0.5
NOTE_SECONDS = 0.02  # between two notes that say the same: a trainer that only waits asks often
CLOSE_SECONDS = 5.0
LOG_SECONDS = 4.0  # for word of the log after an endorsed state, before that state itself is fetched


class RoundAverager:
    """`Averager`. span_digests, root: those of the current shared state (`SharedState`).

    One step of the trainer is one round: `step` is always `position().round`.
    """

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        layout: Layout,
        *,
        span_digests: Digests,
        root: Root,
        start: Start,
        surroundings: Surroundings,
    ) -> None:
        self.network, self.layout, self.span_digests, self.root = network, layout, span_digests, root
        self.terms = terms_of(manifest, layout.size)
        me = Self(network.peer_id, secrets.randbits(63), surroundings.bandwidth, full=not network.client)
        core = Peer(me, self.terms.policy, crypto_of(network), Log(start.position, self.terms.policy))
        caller = Caller(network.peer_id, manifest.training, surroundings.alive, surroundings.wait_for)
        self.outbox: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self.driver = Driver(core, self.terms, caller, start.folder, self._deliver)
        self.driver.giving.keeper = start.keeper
        self._position, self._members = start.position, tuple(seat.peer for seat in start.position.electorate)
        self._settled = start.position.head  # the round whose outcome the residuals follow
        self._endorsed = CertifiedState(start.position.head, start.position.round, start.root) if start.root else None
        self._lacks_state = start.root is not None
        self._closed = False
        self._meter = Meter(network.traffic)
        self._noted: tuple[int, int, float] = (-1, 0, 0.0)  # step, samples, when
        if start.residuals is not None:
            tables = [self.driver.arithmetic.sent, self.driver.arithmetic.owed]
            load_residuals(start.residuals, start.position.head, tables)
        self.replayed = network.run(self._begin(), 30.0)

    async def _begin(self) -> int:
        streams, driver = self.network.streams, self.driver
        driver.begin(streams)
        replayed = replay(driver)
        if self._lacks_state:
            driver.feed(events.Restored(b""))  # the state is nowhere on this log: it must be fetched
            driver.lag.grown_at = driver.loop.time() + LOG_SECONDS
        control, bulk = self.terms.control_bytes, self.terms.bulk_bytes
        await streams.receive("round-control", driver.inbound.control, limit_bytes=control, purpose=PURPOSE)
        await streams.receive("round-bulk", driver.inbound.bulk, limit_bytes=bulk, purpose=PURPOSE, direct=True)
        return replayed

    # --- the protocol ------------------------------------------------------------------------------------------------

    def due(self, step: int, samples: int) -> bool:
        """Whether a round asks for what is accumulated, or an outcome waits. Cheap; called after each micro-batch.

        Nothing is begun for a round that is decided already, also where its outcome is still on its way.
        """
        if self._closed or not self.outbox.empty() or self.driver.lag.told or step < self._position.round:
            return True
        if samples == 0 and self.driver.core.log.tip.round > step:
            return True
        if not self._note(step, samples):
            return True
        return samples > 0 and self.asked(step)

    def asked(self, step: int) -> bool:
        """Whether the round of `step` waits for what this peer gives to it, be it nothing."""
        asked = self.driver.giving.asked
        return asked is not None and asked.round == step + 1

    def average(self, step: int, contribution: Contribution) -> Result:
        """The outcome of the round of `step`. Outcomes that already wait come first, without the contribution.

        `contribution.vector` is read until this returns. NonFiniteError, naming the tensor, where it cannot be sent.
        """
        began = time.perf_counter()
        if step < self._position.round and not self._lacks_state:
            return Missed(step, f"this peer has the outcome of round {self._position.round} already", behind=True)
        while True:
            delivery = self._next(step, contribution)
            match delivery:
                case Certified() if delivery.outcome.base == self._position.head:
                    return self._averaged(step, delivery, began)
                case Certified():
                    self._unpin(delivery.outcome)  # of a lineage, or from before a state, that was left
                case Behind(reason):
                    return Missed(step, reason, behind=True, stats=self._meter.stats(began))
                case Broken(error):
                    raise self._named(error)
                case None:
                    reason = "leaving" if self._closed else f"network: {self.network.failure}"
                    return Missed(step, reason, stats=self._meter.stats(began))

    def roster(self) -> tuple[str, ...]:
        """Peer ids of the last round handed over, in roster order; empty before the first."""
        return self._members

    def close(self) -> None:
        """Tell the others, unblock the trainer, and free everything but the network, which is its owner's."""
        if self._closed:
            return
        self._closed = True
        self.outbox.put(None)
        try:
            self.network.run(self.driver.end(), CLOSE_SECONDS)
        except NetworkError:
            return  # the network is gone, and with it all that could be ended

    def amend(self, training: TrainingSpec) -> None:
        """From now on a round is called when so many samples are there as this says."""
        self.driver.caller.training = training

    # --- where the state is ------------------------------------------------------------------------------------------

    def position(self) -> Position:
        """After the last round handed over: what belongs into a checkpoint of the state that has applied it."""
        return self._position

    @property
    def head(self) -> str:
        """Of the log there, in hex."""
        return self._position.head.hex()

    def wanted(self) -> list[CertifiedState]:
        """Whole states that a quorum has certified, newest first, then the endorsed one: what may be put in place."""
        return self.network.run(self._wanted(), CLOSE_SECONDS)

    async def _wanted(self) -> list[CertifiedState]:
        log = self.driver.core.log
        endorsed = self._endorsed
        return [*certified_states(log, self.terms), *([endorsed] if endorsed and endorsed.head in log.index else [])]

    def oldest(self) -> int:
        """The earliest round from whose state the log can be followed: means of the rounds after it are still kept."""
        return self.driver.core.log.tip.round - self.terms.policy.history_rounds

    def restored(self, head: bytes) -> bool:
        """The shared state now is the one at this head. False, and nothing happens, if the log does not hold it."""
        position = self.network.run(self._at(head), CLOSE_SECONDS)
        if position is None:
            return False
        self._position, self._members = position, tuple(seat.peer for seat in position.electorate)
        self._lacks_state = False
        while not self.outbox.empty():
            delivery = self.outbox.get()
            if isinstance(delivery, Certified):
                self._unpin(delivery.outcome)
        return self._call(self.driver.restored, head)

    async def _at(self, head: bytes) -> Position | None:
        log = self.driver.core.log
        return log.chain[log.index[head]].position if head in log.index else None

    def save_residuals(self, folder: Path) -> None:
        """Write both residuals into a checkpoint's folder, stamped with `head`; `Start.residuals` takes them up.

        Not where they are further than the state already: what is owed after rounds to come does not belong to it.
        """
        arithmetic, head = self.driver.arithmetic, self._position.head
        tables = arithmetic.last(lambda: arithmetic.settled() if self._settled == head else None)
        if tables is not None:
            save_residuals(folder, head, tables)

    def _deliver(self, delivery: Delivery) -> None:
        if isinstance(delivery, Certified):
            self._settled = delivery.position.head
        self.outbox.put(delivery)

    @property
    def figures(self) -> Figures:
        """For metrics; its numbers go on changing."""
        return self.driver.figures

    # --- inside ------------------------------------------------------------------------------------------------------

    def _next(self, step: int, contribution: Contribution) -> Delivery | None:
        """What comes next for the trainer; None when nothing will come any more."""
        if self.outbox.empty() and not self._closed:
            self._call(self.driver.giving.offer, Offer(step, contribution, self._state))
        while not (self._closed and self.outbox.empty()) and self.network.failure is None:
            try:
                return self.outbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if self.driver.lag.told and self.driver.lag.why is not None:
                    return Behind(self.driver.lag.why)
        return None

    def _note(self, step: int, samples: int) -> bool:
        now = time.monotonic()
        if self._noted[:2] == (step, samples) and now - self._noted[2] < NOTE_SECONDS:
            return True
        self._noted = (step, samples, now)
        return self._call(self.driver.note, now, step, samples)

    def _state(self) -> bytes:
        return self.terms.state(self._position.round, self.span_digests, self.root)

    def _call(self, work: Any, *arguments: Any) -> bool:
        """Run in the network's loop, without waiting; False where there is none any more."""
        try:
            self.driver.loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _averaged(self, step: int, certified: Certified, began: float) -> Result:
        outcome = certified.outcome
        frames = [None if span.void else self.driver.means.get(span.digest) for span in outcome.spans]
        self._unpin(outcome)
        if any(frame is None and not span.void for frame, span in zip(frames, outcome.spans, strict=True)):
            return Missed(step, "behind: bytes of a certified round are damaged on this disk", behind=True)
        assert outcome.round == step + 1, (outcome.round, step)
        mean = EncodedMean(self.terms.codec, self.terms.size, self.terms.span_size, frames)
        self._position, self._members = certified.position, outcome.roster
        return Averaged(step, mean, members_of(outcome), certified.included, self._meter.stats(began, certified))

    def _unpin(self, outcome: Outcome) -> None:
        self._call(self.driver.handover.taken, outcome.means)

    def _named(self, error: BaseException) -> BaseException:
        if not isinstance(error, NonFiniteError):
            return error
        tensors = self.layout.tensors
        return error.named([tensor.name for tensor in tensors], [tensor.offset for tensor in tensors])
