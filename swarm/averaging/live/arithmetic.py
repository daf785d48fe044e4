"""The arithmetic of a round, in one thread of its own and in order: encode, average, and what becomes of residuals.

The network's loop never waits for it. One thread, because a residual is read and replaced in the order of the core's
effects, and because all of it together takes less time than the bytes take on the wire.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from swarm import compiled
from swarm.averaging.aggregator import reduce_span
from swarm.averaging.codec import CodecError, Encoded, Frame, Quality, check, encode_with_feedback, squares
from swarm.averaging.live.residuals import Residuals, Trial
from swarm.averaging.live.store import Store
from swarm.averaging.live.terms import Terms
from swarm.averaging.round.events import Compute, Settle
from swarm.averaging.round.messages import Ballot
from swarm.digest import content_digest

Key = tuple[bytes, Ballot, int]  # base, ballot, span
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """A contribution, encoded: digest and norm of every span, and how good the encoding is."""

    digests: tuple[bytes, ...]
    norms: tuple[float, ...]
    quality: Quality


class Arithmetic:
    def __init__(self, terms: Terms, parts: Store, means: Store) -> None:
        sizes = tuple(terms.values(span) for span in range(len(terms.spans)))
        self.terms, self.parts, self.means = terms, parts, means
        self.sent, self.owed = Residuals(terms.codec, sizes), Residuals(terms.codec, sizes)
        self.spare: np.ndarray | None = None  # memory of a residual that was replaced, for the next one
        self.trials: dict[int, Trial] = {}  # span -> what was sent, its outcome unknown
        self.reduced: dict[Key, np.ndarray] = {}  # what a mean of this peer left, its outcome unknown
        self.executor = ThreadPoolExecutor(1, "arithmetic")

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Do `work` after everything submitted before."""
        return self.executor.submit(work)

    def last(self, work: Callable[[], T]) -> T:
        """The result of `work` after everything submitted before; also when closed."""
        try:
            future = self.submit(work)
        except RuntimeError:  # closed
            self.executor.shutdown(wait=True)
            return work()
        return future.result()

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)

    # --- the sender --------------------------------------------------------------------------------------------------

    def encode(self, vector: np.ndarray) -> tuple[Given, list[Frame]]:
        """Encode every span with its residual. NonFiniteError, counted from the vector's start, leaves all as it was.

        The frames go into the store with their event, not before (`round.events`). The vector must stay as it is until
        the outcome is settled.
        """
        digests: list[bytes] = []
        frames: list[Frame] = []
        norms, quality = [], Quality()
        try:
            for span, place in enumerate(self.terms.spans):
                encoded = self._encode(span, vector[place])
                digests.append(content_digest(encoded.frame))
                frames.append(encoded.frame)
                norms.append(norm(encoded.quality))
                quality += encoded.quality
        except Exception as error:
            for span in list(self.trials):
                self.sent.put_back(span, self.trials.pop(span))
            raise shifted(error, self.terms.spans[len(digests)].start) from None
        return Given(tuple(digests), tuple(norms), quality), frames

    def _encode(self, span: int, values: np.ndarray) -> Encoded:
        """Nothing but this replaces what the sender owes, so that the memory of one span's residual moves on."""
        before, spare = self.sent[span], self.spare
        memory = spare if spare is not None and len(spare) == len(values) else None
        encoded = encode_with_feedback(self.terms.codec, values, before, out=memory)
        self.spare = before
        self.trials[span] = Trial(encoded.frame, values)
        self.sent.replace(span, encoded.residual)
        return encoded

    # --- the reducer -------------------------------------------------------------------------------------------------

    def reduce(self, work: Compute) -> tuple[bytes, Frame] | None:
        """Average these parts and encode once; the mean and its digest, or None where the round is over already.

        The residual from before stays until the outcome says which mean was chosen: a reducer's share is small, and the
        parts, from which it could be computed again, take more.
        """
        terms, span = self.terms, work.span
        frames = [(frame, weight) for digest, weight in work.parts if (frame := self.parts.get(digest)) is not None]
        if len(frames) != len(work.parts):
            return None
        total = math.fsum(weight for _, weight in frames)
        encoded = reduce_span(terms.codec, terms.aggregator, terms.values(span), frames, total, self.owed[span])
        self.reduced[work.base, work.ballot, span] = encoded.residual
        return content_digest(encoded.frame), encoded.frame

    def forget(self, work: Compute) -> None:
        """The round was over before this was computed: nobody will settle it."""
        self.settle(Settle("reducer", "keep", work.span, work.base, work.ballot))

    # --- the outcome -------------------------------------------------------------------------------------------------

    def settle(self, effect: Settle) -> None:
        match effect.role, effect.verdict:
            case "sender", "adopt":
                self.trials.pop(effect.span, None)
                if self.terms.size >= compiled.WORTH:
                    compiled.start()
            case "sender", "keep":
                trial = self.trials.pop(effect.span, None)
                if trial is not None:
                    self.sent.put_back(effect.span, trial)
            case "sender", _:
                self.trials.pop(effect.span, None)
                self.sent.drop(effect.span)
            case "reducer", "adopt" | "keep":
                assert effect.ballot is not None
                residual = self.reduced.pop((effect.base, effect.ballot, effect.span), None)
                if residual is not None and effect.verdict == "adopt":
                    self.owed.replace(effect.span, residual)
            case _:
                self.owed.drop(effect.span)

    def settled(self) -> list[list[np.ndarray | None]]:
        """Both tables as they are without what is under way, for a checkpoint."""
        sent = [self.sent.before(s, self.trials[s]) if s in self.trials else r for s, r in enumerate(self.sent.table)]
        return [sent, list(self.owed.table)]


def norm(quality: Quality) -> float:
    """L2 norm of the decoded values."""
    return math.sqrt(max(0.0, quality.squared_error - quality.squared_value + 2 * quality.product))


def checked(terms: Terms, frame: Frame, span: int, *, measure: bool) -> tuple[bytes, float]:
    """Digest of a frame that a stranger sent and, to `measure`, its L2 norm. CodecError if it is not one of this span.

    A mean's norm is of no use to anybody; nor can it be infinite in a codec whose values are all finite.
    """
    size, total = terms.values(span), 0.0
    if measure:
        total = sum(float(part.sum()) for part in squares(terms.codec, frame, size))
    else:
        check(terms.codec, frame, size)
    if not math.isfinite(total):
        raise CodecError(f"a frame's values have squared norm {total}; refused")
    return content_digest(frame), math.sqrt(total)


def shifted(error: Exception, start: int) -> Exception:
    """An error of the codec, its index counted from the start of the vector."""
    from swarm.averaging.codec import NonFiniteError

    return error.shifted(start) if isinstance(error, NonFiniteError) else error
