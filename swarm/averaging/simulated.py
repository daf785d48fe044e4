"""A whole swarm's averaging in one process, without a network: for tests, benchmarks, and users who try things out.

The bytes are real: every span is encoded by the run's codec, reduced by its aggregator and encoded once more, and every
member decodes the same frames. Only the way between peers is missing, so nothing waits, nothing depends on time, and
what goes wrong is scripted. A round is closed when every peer that lives has called `average`, each from a thread of
its own; or call `SimulatedSwarm.round` with all contributions at once, and no thread is needed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from swarm.averaging.aggregator import aggregator_named, reduce_span
from swarm.averaging.averager import Averaged, Contribution, Member, Missed, Outcome, RoundStats
from swarm.averaging.codec import Encoded, Frame, Quality, codec_named, encode_with_feedback
from swarm.averaging.encoded_mean import EncodedMean
from swarm.run.schema import AveragingSpec

KEPT_ROUNDS = 16  # for peers that lag; one that lags further takes the state of another peer
PATIENCE_SECONDS = 60.0  # for a peer whose thread died without `close`: a bug of the caller, not a part of any script

Samples = int | Callable[[int], int]  # that a peer gives in a step


class Fault(Enum):
    """What happens to a peer in a step, once: a peer that tries the step again is spared."""

    MISS = "nothing of it arrives and it learns nothing"
    LATE = "its bytes arrive after the deadline, but it learns the outcome"
    LOST = "its bytes arrive, and it learns nothing"
    CRASH = "it dies before it sends anything, and what it remembered is gone"


@dataclass(frozen=True)
class Script:
    """faults: by (peer, step). void: by step, the indices of spans that nobody can average."""

    faults: Mapping[tuple[str, int], Fault] = field(default_factory=dict)
    void: Mapping[int, Collection[int]] = field(default_factory=dict)


class CrashedError(Exception):
    """Raised in the peer that the script lets die: its thread ends, as its process would."""


@dataclass(frozen=True)
class Offer:
    """What a peer brought to a round. encoded: one for each span, or none where it has nothing to give."""

    contribution: Contribution
    encoded: Sequence[Encoded] = ()
    fault: Fault | None = None

    @property
    def arrives(self) -> bool:
        return self.fault not in (Fault.MISS, Fault.LATE)


class SimulatedSwarm:
    """The network that all peers of a simulated run share. Safe to use from several threads.

    spec: codec, aggregator and span size of the run. size: values in the vector. feedback: whether what an encoding
    lost is added to the next one (senders and reducers).
    """

    def __init__(self, spec: AveragingSpec, size: int, *, script: Script | None = None, feedback: bool = True) -> None:
        self.size, self.span_size, self.feedback = size, spec.span_size, feedback
        self.codec, self.aggregator = codec_named(spec.codec), aggregator_named(spec.aggregator)
        self.step = 0
        self.members: tuple[Member, ...] = ()
        self._roster: tuple[str, ...] = ()
        self._script = script or Script()
        self._happened: set[tuple[str, int]] = set()
        self._live: dict[str, SimulatedAverager] = {}
        self._offers: dict[str, Offer] = {}
        self._results: dict[str, Outcome] = {}
        self._owed: dict[tuple[str, int], np.ndarray] = {}  # by reducers, (peer, span) -> bfloat16 bits
        self._log: deque[Averaged] = deque(maxlen=KEPT_ROUNDS)
        self._attempt = 0  # rounds closed, committed or not
        self._changed = threading.Condition()

    def resume(self, step: int, roster: Sequence[str] = ()) -> SimulatedSwarm:
        """Begin at `step`, after a round of this roster: a swarm whose peers all come from checkpoints."""
        assert not self._attempt, "resume comes before the first round"
        self.step, self._roster = step, tuple(roster)
        return self

    def join(self, peer_id: str, samples: Samples = 1) -> SimulatedAverager:
        """A new peer, or one that crashed and comes back. samples: how many it gives in a step (`due`)."""
        with self._changed:
            assert peer_id not in self._live, f"{peer_id} is in the swarm already"
            self._live[peer_id] = SimulatedAverager(self, peer_id, samples)
            return self._live[peer_id]

    def roster(self) -> tuple[str, ...]:
        return self._roster

    def round(self, contributions: Mapping[str, Contribution]) -> dict[str, Outcome]:
        """One round of the current step in the caller's thread: the outcome of each peer, in the order of the mapping.

        Every peer that lives must be in it. A peer that the script lets die has none.
        """
        with self._changed:
            assert set(contributions) == set(self._live), (sorted(contributions), sorted(self._live))
            for peer, contribution in contributions.items():
                self._enter(peer, self._offer(self._live[peer], contribution))
            self._settle()
            return {peer: self._results.pop(peer) for peer in contributions if peer in self._live}

    def committed(self, step: int, peer_id: str) -> Averaged | None:
        """The round of `step` as a peer learns it that missed it; None where it is too old or not yet decided."""
        with self._changed:
            found = next((outcome for outcome in self._log if outcome.step == step), None)
            if found is None:
                return None
            return replace(found, included=any(member.peer_id == peer_id for member in found.roster))

    # --- called by the averagers, with the lock held where the name begins with an underscore ------------------------

    def average(self, peer_id: str, step: int, contribution: Contribution) -> Outcome:
        with self._changed:
            if peer_id not in self._live:
                return Missed(step, "closed")
            if step < self.step:
                return Missed(step, f"the swarm is at step {self.step}", behind=True)
            assert step == self.step, f"{peer_id} is at step {step}, the swarm at {self.step}"
            averager = self._live[peer_id]
        offer = self._offer(averager, contribution)  # outside the lock: peers encode side by side
        with self._changed:
            if self._live.get(peer_id) is not averager:
                return Missed(step, "closed")
            attempt = self._attempt
            self._enter(peer_id, offer)
            if offer.fault is Fault.CRASH:
                self._settle_if_complete()
                raise CrashedError(f"{peer_id} dies at step {step}, as scripted")
            self._settle_if_complete()
            self._changed.wait_for(lambda: self._attempt > attempt or peer_id not in self._live, PATIENCE_SECONDS)
            if self._attempt > attempt:
                return self._results.pop(peer_id)
            self._offers.pop(peer_id, None)
            reason = "timeout: another peer neither contributed nor left" if peer_id in self._live else "closed"
            return Missed(step, reason)

    def leave(self, peer_id: str) -> None:
        with self._changed:
            if self._live.pop(peer_id, None) is not None:
                self._offers.pop(peer_id, None)
                self._settle_if_complete()
                self._changed.notify_all()

    def _offer(self, averager: SimulatedAverager, contribution: Contribution) -> Offer:
        """Encode what is given. Raises NonFiniteError (in the peer that would send it) before anybody sees it."""
        assert 0 <= contribution.weight < float("inf"), contribution.weight
        key = (averager.peer_id, self.step)
        fault = self._script.faults.get(key) if key not in self._happened else None
        if contribution.weight == 0:
            return Offer(contribution, fault=fault)
        assert contribution.vector.shape == (self.size,), (contribution.vector.shape, self.size)
        residuals = averager.residuals
        encoded = [
            encode_with_feedback(self.codec, contribution.vector[span], residuals.get(index) if self.feedback else None)
            for index, span in enumerate(self._spans())
        ]
        return Offer(contribution, encoded, fault)

    def _enter(self, peer_id: str, offer: Offer) -> None:
        if offer.fault is not None:
            self._happened.add((peer_id, self.step))
        if offer.fault is Fault.CRASH:
            del self._live[peer_id]
            self._owed = {key: owed for key, owed in self._owed.items() if key[0] != peer_id}
        else:
            self._offers[peer_id] = offer

    def _settle_if_complete(self) -> None:
        if self._live and set(self._offers) == set(self._live):
            self._settle()

    def _settle(self) -> None:
        """Close the round: the outcome of everybody who is in it. Roster order is the order of peer ids."""
        offers, self._offers = dict(sorted(self._offers.items())), {}
        arrived = {peer: offer for peer, offer in offers.items() if offer.arrives}
        givers = {peer: offer for peer, offer in arrived.items() if offer.encoded}
        frames = self._reduce(tuple(arrived), givers) if givers else []
        decided = any(frame is not None for frame in frames)
        self._results = {
            peer: self._outcome(peer, offer, offers, frames) if decided else Missed(self.step, "void: nothing averaged")
            for peer, offer in offers.items()
        }
        if decided:
            self.members = self._members(arrived)
            self._log.append(Averaged(self.step, self._mean(frames), self.members))
            self._roster = tuple(arrived)
            self.step += 1
        self._attempt += 1
        self._changed.notify_all()

    def _reduce(self, members: Sequence[str], givers: Mapping[str, Offer]) -> list[Frame | None]:
        """The mean's frame of each span, None where the script voids it. Residuals are adopted here and only here."""
        total = sum(offer.contribution.weight for offer in givers.values())
        frames: list[Frame | None] = []
        for index, span in enumerate(self._spans()):
            if index in self._script.void.get(self.step, ()):
                frames.append(None)
                continue
            sent = [(offer.encoded[index].frame, offer.contribution.weight) for offer in givers.values()]
            place = (members[index % len(members)], index)
            owed = self._owed.get(place) if self.feedback else None
            mean = reduce_span(self.codec, self.aggregator, span.stop - span.start, sent, total, owed)
            if self.feedback:
                self._owed[place] = mean.residual
                for peer, offer in givers.items():
                    self._live[peer].residuals[index] = offer.encoded[index].residual
            frames.append(mean.frame)
        return frames

    def _outcome(self, peer: str, offer: Offer, offers: Mapping[str, Offer], frames: list[Frame | None]) -> Outcome:
        stats = self._stats(peer, offer, offers, frames)
        if offer.fault in (Fault.MISS, Fault.LOST):
            return Missed(self.step, f"scripted: {offer.fault.value}", behind=True, stats=stats)
        members = self._members({other: o for other, o in offers.items() if o.arrives})
        return Averaged(self.step, self._mean(frames), members, included=offer.arrives, stats=stats)

    def _stats(self, peer: str, offer: Offer, offers: Mapping[str, Offer], frames: list[Frame | None]) -> RoundStats:
        """Counted from the frames: spans to their reducers, and each mean from its reducer to everybody who listens."""
        members = [other for other, o in offers.items() if o.arrives]
        senders = [other for other, o in offers.items() if o.encoded and o.fault is not Fault.MISS]
        listeners = [other for other, o in offers.items() if o.fault not in (Fault.MISS, Fault.LOST)]
        sent = received = 0
        for index, frame in enumerate(frames):
            reducer, mean = members[index % len(members)], len(frame or b"")
            if peer == reducer:
                received += sum(len(offers[other].encoded[index].frame) for other in senders if other != peer)
                sent += mean * len([other for other in listeners if other != peer])
            else:
                sent += len(offer.encoded[index].frame) if peer in senders else 0
                received += mean if peer in listeners else 0
        quality = sum((encoded.quality for encoded in offer.encoded), Quality())
        return RoundStats(
            bytes_sent=sent,
            bytes_received=received,
            codec_relative_error=quality.relative_error if offer.encoded else None,
            codec_cosine=quality.cosine if offer.encoded else None,
            void_spans=frames.count(None),
        )

    def _members(self, offers: Mapping[str, Offer]) -> tuple[Member, ...]:
        gifts = {peer: offer.contribution for peer, offer in offers.items()}
        return tuple(Member(peer, gift.samples, gift.weight) for peer, gift in gifts.items())

    def _mean(self, frames: Sequence[Frame | None]) -> EncodedMean:
        return EncodedMean(self.codec, self.size, self.span_size, frames)

    def _spans(self) -> list[slice]:
        starts = range(0, self.size, self.span_size)
        return [slice(start, min(start + self.span_size, self.size)) for start in starts]


class SimulatedAverager:
    """One peer's `Averager` in a `SimulatedSwarm`; `SimulatedSwarm.join` makes it.

    residuals: by span, what the encoding of this peer's last included contribution lost, bfloat16 bits.
    """

    def __init__(self, swarm: SimulatedSwarm, peer_id: str, samples: Samples) -> None:
        self.swarm, self.peer_id, self.samples = swarm, peer_id, samples
        self.residuals: dict[int, np.ndarray] = {}

    def due(self, step: int, samples: int) -> bool:
        """Once this peer has its samples of the step, or at once where the swarm is ahead."""
        wanted = self.samples if isinstance(self.samples, int) else self.samples(step)
        return samples >= wanted or self.swarm.step > step

    def average(self, step: int, contribution: Contribution) -> Outcome:
        """Waits until every other peer that lives has contributed or left."""
        return self.swarm.average(self.peer_id, step, contribution)

    def roster(self) -> tuple[str, ...]:
        return self.swarm.roster()

    def committed(self, step: int) -> Averaged | None:
        """A round that this peer missed, to be applied now; None where nobody keeps it any more."""
        return self.swarm.committed(step, self.peer_id)

    def close(self) -> None:
        """Leave; the others go on without us. Twice is once."""
        self.swarm.leave(self.peer_id)
