"""Languages of which the swarm reads far less than the run's mixture gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitoring.view.swarm import SwarmView

PART, ENOUGH = 0.25, 0.5  # of the tokens that should have come: starved below, fed again above; in between as before
WINDOWS = (120.0, 600.0)  # seconds; the shortest in which enough of a language should have come decides
FEWEST_SAMPLES = 20  # of a language that should have come: four or fewer of 20 come by chance once in 59,000 times


def starved_languages(view: SwarmView, now: float) -> dict[str, float]:
    """Language -> seconds of the window in which it lacked. view.starved: what was found at the look before."""
    found: dict[str, float] = {}
    judged: set[str] = set()
    for seconds in WINDOWS:
        counts = view.lately(now, seconds)
        tokens = {code: counts["tokens", code] for code in view.facts.planned}
        total = sum(tokens.values())
        for code, share in view.facts.planned.items():
            expected = share * total
            if code in judged or expected < FEWEST_SAMPLES * view.facts.sequence_length:
                continue
            judged.add(code)
            if tokens[code] < (ENOUGH if code in view.starved else PART) * expected:
                found[code] = seconds
    return found
