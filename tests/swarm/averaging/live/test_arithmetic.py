"""A reducer's residual follows the mean that was chosen, whichever ballot made it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from swarm.averaging.aggregator import reduce_span
from swarm.averaging.codec import encode
from swarm.averaging.live.arithmetic import Arithmetic
from swarm.averaging.live.store import Store
from swarm.averaging.live.terms import terms_of
from swarm.averaging.round.events import Compute, Settle
from swarm.averaging.round.messages import Ballot
from swarm.digest import content_digest
from tests.swarm.averaging.live.trainees import manifest

TERMS = terms_of(manifest(), 10_000)
BASE = b"b" * 32
FIRST, SECOND = Ballot(0, "anna", 1), Ballot(1, "bela", 1)


@pytest.fixture
def reducer() -> Iterator[Arithmetic]:
    arithmetic = Arithmetic(TERMS, Store(None), Store(None))
    yield arithmetic
    arithmetic.close()


def frame(seed: int) -> bytes:
    return encode(TERMS.codec, np.random.default_rng(seed).standard_normal(TERMS.values(0), dtype=np.float32))


def reduced(arithmetic: Arithmetic, ballot: Ballot, *seeds: int, base: bytes = BASE) -> np.ndarray:
    """Reduce these contributions; what the mean leaves, computed apart."""
    frames = [frame(seed) for seed in seeds]
    for each in frames:
        arithmetic.parts.put(content_digest(each), each)
    work = Compute(base, ballot, 0, tuple((content_digest(each), 1.0) for each in frames))
    wanted = reduce_span(
        TERMS.codec, TERMS.aggregator, TERMS.values(0), [(f, 1.0) for f in frames], len(frames), arithmetic.owed[0]
    )
    made = arithmetic.reduce(work)
    assert made is not None
    assert bytes(made[1]) == bytes(wanted.frame)
    return wanted.residual


def settle(arithmetic: Arithmetic, verdict: str, ballot: Ballot, base: bytes = BASE) -> None:
    arithmetic.settle(Settle("reducer", verdict, 0, base, ballot))  # type: ignore[arg-type]


@pytest.mark.parametrize("chosen", [FIRST, SECOND])
def test_it_is_the_chosen_ballots_also_when_the_parts_are_gone(reducer: Arithmetic, chosen: Ballot) -> None:
    before = reduced(reducer, FIRST, 1, 2, base=b"a" * 32)
    settle(reducer, "adopt", FIRST, base=b"a" * 32)
    assert np.array_equal(reducer.owed[0], before)
    left = {FIRST: reduced(reducer, FIRST, 3, 4, 5), SECOND: reduced(reducer, SECOND, 4, 5)}
    reducer.parts.release(list(reducer.parts.memory))
    for ballot in (FIRST, SECOND):
        settle(reducer, "adopt" if ballot == chosen else "keep", ballot)
    assert np.array_equal(reducer.owed[0], left[chosen])
    assert not reducer.reduced, "what was not chosen takes no memory"


def test_it_stays_as_it_was_bit_for_bit_where_nothing_was_chosen(reducer: Arithmetic) -> None:
    before = reduced(reducer, FIRST, 1, 2)
    settle(reducer, "adopt", FIRST)
    reduced(reducer, SECOND, 3, 4, base=b"c" * 32)
    assert np.array_equal(reducer.settled()[1][0], before), "a checkpoint knows nothing of what is under way"
    settle(reducer, "keep", SECOND, base=b"c" * 32)
    assert np.array_equal(reducer.owed[0], before)
    settle(reducer, "adopt", SECOND, base=b"c" * 32)
    assert np.array_equal(reducer.owed[0], before), "settled is settled"
