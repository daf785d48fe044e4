"""On which lineage each trainer is. Who has just fallen silent is lost, and not apart from the others."""

from __future__ import annotations

from collections import Counter

from monitoring.view.swarm import SwarmView

SILENT_SECONDS = 12.0  # a peer writes every few seconds; what it wrote last lives for half a minute


def lineages(view: SwarmView) -> dict[str, str]:
    """Peer -> the lineage that it tells."""
    heard = [known for known in view.trainers() if view.looked - known.heard <= SILENT_SECONDS]
    return {known.peer_id: known.record.lineage for known in heard if known.record.lineage}


def off_lineage(view: SwarmView) -> tuple[str, ...]:
    """Trainers not on the lineage that most trainers are on."""
    told = lineages(view)
    if len(set(told.values())) < 2:
        return ()
    most = Counter(told.values()).most_common(1)[0][0]
    return tuple(peer for peer, lineage in told.items() if lineage != most)
