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
    """Peers whose last digest is not the most frequent one of its step.

    A step at which no digest is accuses them all, but only when nobody's digest is still to come: peers tell theirs one
    after another, and the first two would accuse each other.
    """
    telling = [known for known in trainers if known.record.state_digest and known.record.digest_step is not None]
    found: list[Acquaintance] = []
    for step in {known.record.digest_step for known in telling}:
        held = [(known.digests[step], known) for known in telling if step in known.digests]
        counts = Counter(digest for digest, _ in held)
        (most, votes), *rest = counts.most_common(2)
        tied = bool(rest) and rest[0][1] == votes
        if tied and len(held) < len(telling):
            continue
        differ = [known for digest, known in held if len(counts) > 1 and (tied or digest != most)]
        found += [known for known in differ if known.record.digest_step == step]
    return found


def differing_peers(view: SwarmView, now: float) -> tuple[str, ...]:
    """Those that differ, or did a moment ago."""
    return tuple(
        known.peer_id
        for known in view.trainers()
        if known.differed is not None and now - known.differed <= SHOWN_SECONDS
    )
