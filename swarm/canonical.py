"""Canonical JSON: one sequence of bytes per value, so that a digest or a signature means the same on every peer.

Sorted keys, no spaces, UTF-8, floats by `repr` (the shortest form that reads back to the same double). Our own few
rules and not RFC 8785: both ends run this function, and RFC 8785's ECMAScript number format would have to be rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

MAX_DEPTH = 32


def canonical_bytes(value: Any) -> bytes:
    """The canonical JSON of dicts with string keys, lists, tuples, str, int, float, bool and None.

    Raises ValueError for anything else: NaN, infinity, lone surrogates, other types, nesting beyond MAX_DEPTH.
    """
    _check(value, MAX_DEPTH)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")  # UnicodeEncodeError (lone surrogate) is a ValueError


def digest(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _check(value: Any, depth: int) -> None:
    """`json.dumps` alone would turn the key 1 into "1" and accept any mapping-like thing."""
    if depth < 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"key {key!r} is not text")
            _check(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
    elif value is not None and type(value) not in (str, int, bool):
        raise ValueError(f"{type(value).__name__} has no canonical form")
