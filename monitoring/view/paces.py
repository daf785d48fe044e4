"""Who is much slower than the others, over several looks. A peer at the threshold must not flicker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitoring.view.robust import median

if TYPE_CHECKING:
    from monitoring.view.swarm import SwarmView

SLOW, FAST_AGAIN = 0.25, 0.5  # of the usual pace: slow below, no longer above; in between as before
FEWEST = 3  # trainers, before one of them can be called slow


def paces(view: SwarmView) -> dict[str, float]:
    """Peer -> samples a second over its last looks, of the trainers that compute and are believed."""
    believed = [known for known in view.training() if known.peer_id not in view.checked.implausible]
    return {known.peer_id: known.pace for known in believed if known.pace is not None}


def usual_pace(view: SwarmView) -> float | None:
    """The median of those that give anything; None while there are too few to compare."""
    found = paces(view)
    return median([pace for pace in found.values() if pace > 0]) if len(found) >= FEWEST else None


def mark_slow(view: SwarmView) -> None:
    """After each look: note at every trainer whether it is slow now."""
    found, usual = paces(view), usual_pace(view)
    for known in view.trainers():
        bound = (FAST_AGAIN if known.slow else SLOW) * (usual or 0.0)
        known.slow = known.peer_id in found and found[known.peer_id] < bound
