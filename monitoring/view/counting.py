"""What a peer did between two of its records, by its own totals."""

from __future__ import annotations

from collections import Counter

from monitoring.metrics import MISSED_REASONS, OTHER
from monitoring.view.facts import RunFacts
from swarm.records import ProgressRecord

OUTCOMES = ("committed", *MISSED_REASONS)


def since(before: ProgressRecord, record: ProgressRecord, facts: RunFacts) -> Counter[tuple[str, ...]]:
    """What one peer did since its last record, by its own totals. A total that fell began again at zero.

    Languages and outcomes that nobody knows are "other": what strangers write must not become keys here.

    A peer met for the first time has done nothing yet that we saw: its past is not ours to count.
    """
    found: Counter[tuple[str, ...]] = Counter()
    found["samples",] = risen(before.total_samples, record.total_samples)
    for code, tokens in record.tokens_by_language.items():
        known = code if code in facts.planned else OTHER
        found["tokens", known] += risen(before.tokens_by_language.get(code, 0), tokens)
    for outcome, count in record.rounds.items():
        rise = risen(before.rounds.get(outcome, 0), count)
        found["round", "committed" if outcome == "committed" else "missed"] += rise
        found["outcome", outcome if outcome in OUTCOMES else OTHER] += rise
    for source, joules in record.energy_joules.items():
        found["millijoules", source] = risen(1e3 * before.energy_joules.get(source, 0.0), 1e3 * joules)
    found["micrograms",] = risen(1e6 * before.carbon_grams, 1e6 * record.carbon_grams)
    return +found


def risen(before: float, now: float) -> int:
    return int(now - before if now >= before else now)
