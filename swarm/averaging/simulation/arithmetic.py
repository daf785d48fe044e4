"""Bytes that are integers: a span is one number, encoding rounds it, and every ledger can be checked exactly.

Encoding rounds to a multiple of `GRAIN`; the rest is the residual. Bytes are addressed by content alone, as in a real
peer: equal values have equal digests, whoever made them and in whatever round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

GRAIN = 8


@lru_cache(4096)
def digest_of(value: int) -> bytes:
    return hashlib.sha256(b"frame %d" % value).digest()


def rounded(value: int) -> int:
    return (value + GRAIN // 2) // GRAIN * GRAIN


@dataclass
class Residuals:
    """What a peer owes, per span; `covered`: the (base, span) whose contributions are accounted for in it."""

    sender: list[int]
    reducer: list[int]
    covered: frozenset[tuple[bytes, int]] = frozenset()

    def copy(self) -> Residuals:
        return Residuals(list(self.sender), list(self.reducer), self.covered)


@dataclass
class Given:
    """One contribution: what was meant, what was sent. `status` per span: open, adopted, kept, reset."""

    peer: str
    incarnation: int
    base: bytes
    weight: float
    meant: list[int]
    sent: list[int]
    owed: list[int]
    status: list[str]
    root: bytes = b""

    def digests(self) -> tuple[bytes, ...]:
        return tuple(digest_of(value) for value in self.sent)


@dataclass(frozen=True)
class Mean:
    """One computed mean: the residual and the mean that went in, and what was sent."""

    residual: int
    mean: int
    sent: int
