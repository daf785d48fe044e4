"""Coverage: how much of each language has been read, and how often two peers read the same.

Fed with the slots of a step: this peer's own, or all that a committed round names (`Plan.reads` for each member). Two
reads of one (step, slot) are an overlap; within a pass there is no other kind, since the plan gives different slots
different samples.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import Any

from swarm.data.plan import Plan
from swarm.errors import CheckpointError


class Coverage:
    """Counts per language: `reads` (with repeats), `distinct` samples; `overlap` over all. One bit a sample."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.overlap = 0
        self.reads = dict.fromkeys(plan.sequences, 0)
        self.distinct = dict.fromkeys(plan.sequences, 0)
        self._seen = {language: bytearray((size + 7) // 8) for language, size in plan.sequences.items()}
        self._step = -1
        self._slots: set[int] = set()

    def add(self, step: int, slots: Iterable[int]) -> None:
        """Count reads of one step. Steps in any order; overlap is found among reads of one step added in a row."""
        if step != self._step:
            self._step, self._slots = step, set()
        for slot in slots:
            ref = self._plan.sample(step, slot)
            assert ref is not None, f"slot {slot} of step {step} is empty: nobody can have read it"
            self.overlap += slot in self._slots
            self._slots.add(slot)
            self.reads[ref.language] += 1
            seen, bit = self._seen[ref.language], 1 << (ref.index & 7)
            self.distinct[ref.language] += not seen[ref.index >> 3] & bit
            seen[ref.index >> 3] |= bit

    def fraction(self, language: str) -> float:
        """Distinct samples read over samples held, 0 to 1."""
        return self.distinct[language] / self._plan.sequences[language]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; a bit a sample, compressed."""
        seen = {code: base64.b64encode(zlib.compress(bytes(bits), 9)).decode() for code, bits in self._seen.items()}
        return {
            "overlap": self.overlap,
            "reads": dict(self.reads),
            "seen": seen,
            "step": self._step,
            "slots": sorted(self._slots),
        }

    def restore(self, value: Any) -> None:
        """Take over what `to_dict` gave; CheckpointError, and nothing changed, where it does not fit this plan."""
        try:
            _require(isinstance(value, dict))
            seen = {code: _bits(value["seen"][code], size) for code, size in self._plan.sequences.items()}
            reads = {code: _count(value["reads"][code]) for code in self._plan.sequences}
            overlap, step = _count(value["overlap"]), _count(value["step"], least=-1)
            slots = {_count(slot, most=self._plan.slots - 1) for slot in value["slots"]}
            _require(len(value["seen"]) == len(value["reads"]) == len(seen))
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
            raise CheckpointError("the checkpoint's data cursor is damaged or of another run; use another") from None
        self._seen, self.reads, self.overlap, self._step, self._slots = seen, reads, overlap, step, slots
        self.distinct = {code: sum(byte.bit_count() for byte in bits) for code, bits in seen.items()}


def _bits(text: str, size: int) -> bytearray:
    """A bitmap of exactly `size` bits. Bounded: a small input cannot unfold into a large one."""
    unpack = zlib.decompressobj()
    bits = bytearray(unpack.decompress(base64.b64decode(text, validate=True), (size + 7) // 8 + 1))
    _require(len(bits) == (size + 7) // 8)
    _require(size % 8 == 0 or bits[-1] >> size % 8 == 0)
    return bits


def _count(value: Any, least: int = 0, most: int = 2**63) -> int:
    _require(type(value) is int and least <= value <= most)
    return int(value)


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError
