"""Private text: a volunteer's own, read by this peer alone. The run's plan is not used, and nobody knows its order.

Of it only the run's languages are read, mixed as the run mixes them. Draws go on over restarts by a cursor, which holds
numbers and no text. The shuffle is keyed by this peer's own secret: nothing that others know says what was read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarm.data.ahead import ReadAhead
from swarm.data.batches import Batch, read_batch
from swarm.data.plan import Plan, SampleRef
from swarm.data.sources import folder_files
from swarm.data.store import TokenStore, open_store
from swarm.data.tokenizer import Tokenizer
from swarm.errors import DataError
from swarm.run.schema import DataSpec, SourceSpec

SEED_BITS = 62


def private_batches(
    data: DataSpec, tokenizer: Tokenizer, length: int, *, folder: Path, cache: Path, progress: Callable[[str], None]
) -> PrivateBatches:
    """folder: with `<language>.jsonl` and the like. cache: for its tokens. data: the run's. DataError: unusable."""
    languages = own_languages(data, folder)
    if left_out := sorted(set(folder_files(folder)) - set(languages)):
        progress(f"left out, as the run does not train them: {', '.join(left_out)}")
    source = SourceSpec(kind="folder", path=".", languages=languages)
    own = DataSpec(sources=(source,), temperature=data.temperature)
    store = open_store(own, tokenizer, length, root=folder, cache=cache, progress=progress)
    return PrivateBatches(store, own.model_copy(update={"stock": store.stock}))


def own_languages(data: DataSpec, folder: Path) -> tuple[str, ...]:
    """The run's languages of which `folder` has text, by the names of its files. DataError where there is none."""
    found = folder_files(folder)
    languages = tuple(code for code in found if code in data.stock)
    if not languages:
        there, wanted = ", ".join(found), ", ".join(sorted(data.stock))
        raise DataError(f"{folder} has text in {there}, the run trains {wanted}; add text in one of these")
    return languages


class PrivateBatches:
    """As `Batches`, over this peer's own text. There is no `coverage`: it would say how much text there is."""

    coverage = None

    def __init__(self, store: TokenStore, data: DataSpec, seed: int | None = None) -> None:
        self._store, self._data = store, data
        self._seed = secrets.randbits(SEED_BITS) if seed is None else seed
        self._plan = self._planned()
        self._ahead = ReadAhead(self._read)
        self._step, self._start, self._drawn = -1, 0, 0  # draw numbers: at the start of the step, and now

    def _planned(self) -> Plan:
        """One draw a step: lane 0 of such a plan reads each sample once a cycle."""
        return Plan(self._data.model_copy(update={"seed": self._seed}), global_batch=1)

    def begin(self, step: int, roster: tuple[str, ...], read: int = 0) -> None:
        """Go on with new text; the same step again: the same samples again. Roster and `read` do not matter."""
        if step == self._step:
            self._drawn = self._start
        self._step, self._start = step, self._drawn
        self._ahead.begin()

    def next(self, samples: int) -> Batch:
        """The next `samples`. Never runs dry."""
        first, self._drawn = self._drawn, self._drawn + samples
        batch = self._ahead.get(self._plan, self._step, range(first, self._drawn))
        self._ahead.expect(self._plan, self._step, range(self._drawn, self._drawn + samples))
        return batch

    def _read(self, plan: Plan, step: int, draws: range) -> Batch:
        refs = tuple(_ref(plan, draw) for draw in draws)
        return read_batch(self._store, step, tuple(draws), refs)

    def cursor(self) -> dict[str, Any]:
        return {"private": {"seed": self._seed, "drawn": self._drawn, "step": self._step, "start": self._start}}

    def restore(self, cursor: Any) -> None:
        """Go on where `cursor` was taken; from the beginning where it is none of private text."""
        value = cursor.get("private") if isinstance(cursor, dict) else None
        names = ("seed", "drawn", "step", "start")
        if not isinstance(value, dict) or not all(_is_count(value.get(name), name) for name in names):
            return
        self._seed, self._drawn, self._step, self._start = (value[name] for name in names)
        self._plan = self._planned()


def _ref(plan: Plan, draw: int) -> SampleRef:
    ref = plan.sample(draw, 0)
    assert ref is not None, "lane 0 has no empty slot"
    return ref


def _is_count(value: Any, name: str) -> bool:
    return type(value) is int and (-1 if name == "step" else 0) <= value < 2**SEED_BITS
