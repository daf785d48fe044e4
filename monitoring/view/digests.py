"""Who holds another model than the majority. Replicas are the same bytes, so one digest of a step tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from monitoring.view.acquaintance import Acquaintance

if TYPE_CHECKING:
    from monitoring.view.swarm import SwarmView

SHOWN_SECONDS = 90.0  # a peer repairs itself within a round; one that differs again and again must not flicker


def differing(trainers: Iterable[Acquaintance]) -> list[Acquaintance]:
    """Peers whose digest is not the most frequent one of their step. A step at which none is, accuses them all."""
    by_step: dict[int, list[tuple[str, Acquaintance]]] = {}
    for known in trainers:
        record = known.record
        if record.state_digest and record.digest_step is not None:
            by_step.setdefault(record.digest_step, []).append((record.state_digest, known))
    found: list[Acquaintance] = []
    for held in by_step.values():
        counts = Counter(digest for digest, _ in held)
        (most, votes), *rest = counts.most_common(2)
        tied = bool(rest) and rest[0][1] == votes
        found += [known for digest, known in held if len(counts) > 1 and (tied or digest != most)]
    return found


def differing_peers(view: SwarmView, now: float) -> tuple[str, ...]:
    """Those that differ, or did a moment ago."""
    return tuple(
        known.peer_id
        for known in view.trainers()
        if known.differed is not None and now - known.differed <= SHOWN_SECONDS
    )
