"""A Merkle tree over a contribution's encoded spans: 32 signed bytes in a Ready pin every part that follows.

Leaves and nodes are hashed with different prefixes (RFC 6962), an odd node is carried up unchanged, and a path is
checked against the span's position, so that a part cannot pass for another span's.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarm.averaging.round.messages import sha256

EMPTY = bytes(32)


def _leaf(span: int, digest: bytes) -> bytes:
    return sha256(b"\x00", span.to_bytes(4, "big"), digest)


def levels(digests: Sequence[bytes]) -> list[list[bytes]]:
    """All levels of the tree, leaves first; the last one holds the root."""
    rows = [[_leaf(span, digest) for span, digest in enumerate(digests)]]
    while len(rows[-1]) > 1:
        row = rows[-1]
        pairs = [sha256(b"\x01", row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        rows.append(pairs + row[len(row) // 2 * 2 :])
    return rows


def path(rows: list[list[bytes]], span: int) -> tuple[bytes, ...]:
    """The sibling hashes from leaf `span` up to the root."""
    siblings = []
    for row in rows[:-1]:
        if span ^ 1 < len(row):
            siblings.append(row[span ^ 1])
        span //= 2
    return tuple(siblings)


def belongs(root: bytes, spans: int, span: int, digest: bytes, siblings: Sequence[bytes]) -> bool:
    """Is `digest` the one at position `span` of the tree of `spans` leaves with this root?"""
    if not 0 <= span < spans:
        return False
    node, rest = _leaf(span, digest), list(siblings)
    while spans > 1:
        if span ^ 1 < spans:
            if not rest:
                return False
            other = rest.pop(0)
            node = sha256(b"\x01", node, other) if span % 2 == 0 else sha256(b"\x01", other, node)
        span, spans = span // 2, (spans + 1) // 2
    return node == root and not rest
