"""Batches: this peer's samples of a step, in plan order, and a cursor that continues where a checkpoint stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from swarm.data.ahead import ReadAhead
from swarm.data.coverage import Coverage
from swarm.data.plan import Plan, SampleRef
from swarm.data.store import TokenStore
from swarm.errors import CheckpointError


@dataclass(frozen=True)
class Batch:
    """b samples of s tokens. The model shifts the labels; nothing is masked.

    input_ids, labels: (b, s) int64. text_bytes: (b,) int64, bytes of text behind the s - 1 predicted tokens, so that
    bits per byte = sum of token losses / ln 2 / text_bytes. slots, refs: where each sample came from, for recomputing.
    """

    step: int
    slots: tuple[int, ...]
    refs: tuple[SampleRef, ...]
    input_ids: np.ndarray
    labels: np.ndarray
    text_bytes: np.ndarray

    @property
    def tokens_by_language(self) -> dict[str, int]:
        length = self.input_ids.shape[1]
        return {code: count * length for code, count in Counter(ref.language for ref in self.refs).items()}

    def part(self, start: int, stop: int) -> Batch:
        """Its samples from `start` to `stop`, or to the end: views."""
        rows = slice(start, stop)
        arrays = (self.input_ids[rows], self.labels[rows], self.text_bytes[rows])
        return Batch(self.step, self.slots[rows], self.refs[rows], *arrays)


def make_batch(store: TokenStore, plan: Plan, step: int, slots: tuple[int, ...]) -> Batch:
    """The batch of given slots: what a replay of someone's contribution reads. Empty slots are a bug of the caller."""
    refs = []
    for slot in slots:
        ref = plan.sample(step, slot)
        assert ref is not None, f"slot {slot} of step {step} is empty"
        refs.append(ref)
    return read_batch(store, step, slots, tuple(refs))


def read_batch(store: TokenStore, step: int, slots: tuple[int, ...], refs: tuple[SampleRef, ...]) -> Batch:
    """The batch of these samples, not empty. DataError where the tokens on disk are damaged."""
    ids = np.stack([store.sequence(ref.language, ref.index) for ref in refs])  # (b, s) int64
    text_bytes = store.token_bytes[ids[:, 1:]].sum(axis=1, dtype=np.int64)  # (b,)
    return Batch(step, slots, refs, ids, ids.copy(), text_bytes)


class Batches:
    """`begin(step, roster)` at each step, then `next(micro_batch)` as often as the step takes."""

    def __init__(self, store: TokenStore, plan: Plan, peer_id: str) -> None:
        held = {language: stock.sequences for language, stock in store.stock.items()}
        assert held == plan.sequences, "compare with check_stock first"
        self.coverage = Coverage(plan)
        self._plan, self._peer_id = plan, peer_id
        self._step = -1
        self._roster: tuple[str, ...] = ()
        self._read = 0  # by the swarm before this step, in samples
        self._drawn = 0  # samples read in this step
        self._counted = 0  # of these, counted in `coverage`: a step that is begun again is not overlap
        self._slots: Iterator[int] = iter(())
        self._following: list[int] = []  # taken from `_slots`, to be read next
        self._ahead = ReadAhead(partial(make_batch, store, plan))

    def begin(self, step: int, roster: tuple[str, ...], read: int = 0) -> None:
        """Go to the first sample of `step` for this roster. The same step and roster again: the same samples again.

        read: samples that the swarm has read in all before, which wear text out.
        """
        again = (step, roster) == (self._step, self._roster)
        self._counted = max(self._counted, self._drawn) if again else 0
        self._step, self._roster, self._read, self._drawn = step, tuple(roster), read, 0
        self._slots = self._plan.slots_of(self._roster, self._peer_id, step, self._plan.worn(read))
        self._following = []
        self._ahead.begin()

    def next(self, samples: int) -> Batch:
        """The next `samples` of this step. Never runs dry."""
        assert self._step >= 0, "begin(step, roster) comes first"
        known = [*self._following, *islice(self._slots, max(0, 2 * samples - len(self._following)))]
        slots, self._following = tuple(known[:samples]), known[samples:]
        batch = self._ahead.get(self._step, slots)
        self._ahead.expect(self._step, tuple(self._following[:samples]))
        self.coverage.add(self._step, slots[max(0, self._counted - self._drawn) :])
        self._drawn += samples
        return batch

    def cursor(self) -> dict[str, Any]:
        """Where reading is, JSON-able: step, roster, what was read before it, samples read in it, and the coverage
        (one bit a sample)."""
        return {
            "step": self._step,
            "roster": list(self._roster),
            "read": self._read,
            "drawn": self._drawn,
            "counted": max(self._counted, self._drawn),
            "coverage": self.coverage.to_dict(),
        }

    def restore(self, cursor: Any) -> None:
        """Continue where `cursor` was taken, mid-step too. CheckpointError, where it is damaged."""
        if isinstance(cursor, dict) and set(cursor) == {"private"}:
            return  # this folder has trained on private text, and begins with the run's
        try:
            step, roster, drawn, counted = (cursor[name] for name in ("step", "roster", "drawn", "counted"))
            read = cursor.get("read", 0)  # older checkpoints do not say
            numbers = all(type(value) is int and -1 <= value < 2**53 for value in (step, drawn, counted, read))
            names = isinstance(roster, list) and all(isinstance(name, str) for name in roster)
            if not (numbers and names and read >= 0 and 0 <= drawn <= counted <= 16 * self._plan.slots):
                raise ValueError
            self.coverage.restore(cursor["coverage"])
        except (KeyError, TypeError, ValueError):
            raise CheckpointError("the checkpoint's data cursor is damaged; use an earlier checkpoint") from None
        self._step, self._roster, self._read, self._drawn, self._counted = step, tuple(roster), read, drawn, counted
        self._following = []
        if step >= 0:
            slots = self._plan.slots_of(self._roster, self._peer_id, step, self._plan.worn(read))
            self._slots = islice(slots, drawn, None)
