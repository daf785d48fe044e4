"""Which checkpoints an archive keeps: the newest few, and ever sparser ones behind them: its disk is bounded."""

from __future__ import annotations

from collections.abc import Iterable


def kept(steps: Iterable[int], newest: int, every: int) -> set[int]:
    """Of these steps, those to keep: the `newest` highest, and behind them one for each power of ten.

    That one is the last multiple of 10, 100, ... times `every` steps. Each was among the newest once, so what is thrown
    away is never missed later: kept(kept(a) + b) is kept(a + b) where b is newer than a.
    """
    ordered = sorted(set(steps), reverse=True)
    result, older = set(ordered[:newest]), ordered[newest:]
    apart = 10 * every
    while older and apart <= older[0]:
        result.update([step for step in older if step % apart == 0][:1])
        apart *= 10
    return result


def most(last_step: int, newest: int, every: int) -> int:
    """The most checkpoints that `kept` leaves in a run of `last_step` steps."""
    powers, apart = 0, 10 * every
    while apart <= last_step:
        powers, apart = powers + 1, 10 * apart
    return newest + powers
