"""Which digest is used for what.

Content, which is megabytes, is known by its BLAKE3: encoded spans in a round, spans of the state, residuals on disk.
Statements, which are kilobytes, are known by their SHA-256: manifest, records, certificates and heads of the log
(`swarm.canonical`, `swarm.averaging.round.messages`); and so are weights and tokenizer, which people compare elsewhere.
BLAKE3 is a tree, so that one thread hashes several kilobytes at once: measured 2.65 times as fast as SHA-256 with the
processor's own instructions (docs/decisions.md, 2026-11-27). `b3sum` prints the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

CONTENT_BYTES = 32
Hasher = blake3  # for content that comes piece by piece: `update`, then `digest`
Content = bytes | bytearray | memoryview  # contiguous; an array's memoryview counts as the bytes in its memory


def content_digest(data: Content) -> bytes:
    """BLAKE3 of `data`, 32 bytes."""
    return blake3(memoryview(data).cast("B")).digest()


def content_digest_of(parts: Iterable[Content]) -> bytes:
    """BLAKE3 of all of `parts`, one after another, as if they were one."""
    hasher = blake3()
    for part in parts:
        hasher.update(memoryview(part).cast("B"))
    return hasher.digest()
