"""Mode "local" done again: a peer's inner steps from the public plan, the committed states and its diary.

It is the peer's own work (`LocalWork`) with a script in place of the swarm, so nothing can be computed in another way
here than there. What nobody can know from outside is the peer's moments at the start. Where the diary goes back to the
time when they were empty, and the states do too, nothing is left open; else they begin empty some rounds before, and
what they had forgotten by then decides how near this comes (docs/decisions.md has the figures).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from peers.training.course import Course
from peers.training.local_work import LocalWork
from peers.wiring import accumulator, inner_optimizer, micro_batch, training_data
from swarm.data.versions import VersionedBatches
from swarm.errors import CheckpointError
from swarm.run.amendment import version_at
from swarm.settings import Settings
from swarm.state.diary import Diary, Turn, require_signed_samples

MOST_ROUNDS = 8  # computed again, where the start is not the peer's own


@dataclass(frozen=True)
class Rerun:
    """vector: what the peer should have given. exact: from empty moments. rounds, steps: computed for it."""

    vector: np.ndarray
    exact: bool
    rounds: int
    steps: int


class Script:
    """An `Averager` to a work that is told when to stop."""

    def __init__(self, roster: tuple[str, ...], enough: Callable[[], bool]) -> None:
        self._roster, self._enough = roster, enough

    def due(self, step: int, samples: int) -> bool:
        return self._enough()

    def roster(self) -> tuple[str, ...]:
        return self._roster


def script_of(course: Course, peer: str, diary: Diary | None, step: int, most: int) -> tuple[list[Turn], bool]:
    """The turns to do again for what was given to `step`, and whether they begin with empty moments.

    At most `most` rounds, unless they all can be had. CheckpointError where there is nothing to begin with.
    """
    turns = [turn for turn in diary.turns if turn.step <= step] if diary is not None else []
    if not turns or turns[-1].step != step:
        raise CheckpointError(f"what was kept of {peer} does not say how it was made; name a step of a newer version")
    earliest = course.first_before(step)
    if earliest is None:
        course.state(step)  # says why it cannot be had
        raise AssertionError
    assert diary is not None
    if diary.whole and turns[0].step >= earliest:
        return turns, True
    told = course.told(peer)
    for index, turn in enumerate(turns):
        near = turn.step >= max(earliest, step - most)
        if near and turn.step in told and told[turn.step].included:
            return [turn._replace(ahead=0), *turns[index + 1 :]], False
    last = turns[-1]
    return [last._replace(ahead=0)], False


def rerun(
    course: Course,
    peer: str,
    diary: Diary | None,
    step: int,
    settings: Settings,
    say: Callable[[str], None],
    *,
    most: int = MOST_ROUNDS,
) -> Rerun:
    """Train again what `peer` gave to `step`. RunFailedError where its diary contradicts what it signed."""
    turns, exact = script_of(course, peer, diary, step, most)
    batch = course.manifest.training.local.inner_batch
    require_signed_samples(turns, course.told(peer), batch, from_start=exact, who=peer)
    work = _work(course, peer, turns[0].step, settings, say)
    total = sum(turn.steps for turn in turns)
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        vector = work.contribution(turn.step, _script(course, work, turn)).vector  # type: ignore[arg-type]
        say(f"computing: step {turn.step}, the last one is {step}")
        if following is not None:
            _go_on(course, work, peer, turn.step, following)
    return Rerun(vector, exact, len({turn.step for turn in turns}), total)


def _script(course: Course, work: LocalWork, turn: Turn) -> Script:
    return Script(course.roster(turn.step), lambda: work.done >= turn.steps)


def _go_on(course: Course, work: LocalWork, peer: str, step: int, following: Turn) -> None:
    """What was trained while the round of `step` was under way, and what came of that round and those after it."""
    for _ in range(following.ahead):
        work.train_ahead(step + 1)
    while work.state.step < following.step:
        outcome = course.outcome(work.state.step, peer)
        work.state.apply(outcome)
        work.update(outcome)
        if course.chain:
            work.amend(version_at(course.manifest, course.chain, work.state.step).training)
        if work.state.step < following.step:
            work.rest()


def _work(course: Course, peer: str, step: int, settings: Settings, say: Callable[[str], None]) -> LocalWork:
    """As the peer's own, at the state of `step`, with empty moments."""
    state, manifest, tokenizer = course.state(step), course.manifest, course.tokenizer

    def number(at: int) -> int:
        return sum(each.at_step <= at for each in course.chain)

    def opened(version: int) -> object:
        text = course.chain[version - 1].manifest if version else manifest
        return training_data(text, tokenizer, settings, peer, say)

    sums = accumulator(manifest, state, settings, say)
    made = LocalWork(
        manifest,
        state,
        sums,
        inner_optimizer(manifest, sums, settings, say),
        VersionedBatches(number, opened),  # type: ignore[arg-type]
        micro_batch=micro_batch(manifest, settings, say, device=sums.device, devices=sums.devices),
        tell=lambda samples: None,
    )
    made.amend(version_at(manifest, course.chain, step).training)
    return made
