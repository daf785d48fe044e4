"""What the evaluators of a swarm found on held-out text, put together: one measurement a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitoring.view.facts import RunFacts
from monitoring.view.robust import median
from swarm.records import ProgressRecord

MOST = 400  # of a curve; older ones are thinned


@dataclass(frozen=True)
class Measurement:
    """bits_per_byte: by language, median over the peers that measured the shared state of `step`."""

    step: int
    bits_per_byte: Mapping[str, float] = field(default_factory=dict)


def newest(records: Iterable[ProgressRecord], facts: RunFacts, step: int) -> Measurement | None:
    """The last one that can be true: at a step that the swarm has made and that is due, on the text most measure on."""
    told = [
        record
        for record in records
        if record.validation_step is not None
        and record.validation_by_language
        and 0 < record.validation_step <= step
        and facts.validate_every
        and record.validation_step % facts.validate_every == 0
    ]
    if not told:
        return None
    (text, _), *_ = Counter(record.validation_text for record in told).most_common(1)
    same = [record for record in told if record.validation_text == text]
    last = max(record.validation_step or 0 for record in same)
    values: dict[str, list[float]] = {}
    for record in same:
        if record.validation_step == last:
            for code, bits in record.validation_by_language.items():
                if code in facts.planned:
                    values.setdefault(code, []).append(bits)
    middles = {code: median(found) for code, found in sorted(values.items())}
    return Measurement(last, {code: bits for code, bits in middles.items() if bits is not None})


def remember(curve: list[Measurement], found: Measurement | None) -> list[Measurement]:
    """The curve with `found` in it: a second evaluator's figures replace those of the first alone."""
    if found is None or (curve and found.step < curve[-1].step):
        return curve
    kept = curve[:-1] if curve and curve[-1].step == found.step else curve
    if len(kept) >= MOST:  # every second of the older half
        half = len(kept) // 2
        kept = kept[:half:2] + kept[half:]
    return [*kept, found]
