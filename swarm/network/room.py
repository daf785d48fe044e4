"""How much of other peers' bytes is held at once: so much in all, and of it one peer gets a part.

Without the part a single stranger that asks for everything and reads nothing would take all of the room, and nobody
else would be served until it is given up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """total: bytes at once over all peers. each: of one peer; a single message may be larger."""

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        self.held = 0
        self.by_peer: Counter[str] = Counter()

    def fits(self, peer_id: str, size: int) -> bool:
        mine = self.by_peer.get(peer_id, 0)
        return self.held + size <= self.total and (not mine or mine + size <= self.each)

    @contextmanager
    def holding(self, peer_id: str, size: int) -> Iterator[None]:
        """While the bytes are here; whether they fit was asked before."""
        self.held += size
        self.by_peer[peer_id] += size
        try:
            yield
        finally:
            self.held -= size
            self.by_peer[peer_id] -= size
            if not self.by_peer[peer_id]:
                del self.by_peer[peer_id]
