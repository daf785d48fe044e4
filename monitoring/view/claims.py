"""Which claims of a peer can be true at all. What cannot is taken out of its record, counted, and laid to the peer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.view.facts import RunFacts
from monitoring.view.robust import cap_of, median
from swarm.records import ProgressRecord

LOSS_RATIO = 3.0  # a loss this many times under or over the median of at least three others is not believed
SLACK_ROUNDS = 2  # samples of rounds that the monitor has not heard of yet
OVERFULL = 2.0  # a round may hold more than the global batch, but not more than this many
HASTE = 4.0  # a turn of the loop may be this much shorter than the swarm's usual step, where samples had waited
FEWEST = 3  # peers, before one can be called out of line


@dataclass
class Checked:
    """Records with what is implausible taken out, and for whom that was done: peer id -> words."""

    records: dict[str, ProgressRecord] = field(default_factory=dict)
    implausible: dict[str, list[str]] = field(default_factory=dict)


def check(
    records: Mapping[str, ProgressRecord], facts: RunFacts, reached: int = 0, interval: float | None = None
) -> Checked:
    """All records of one look at the swarm, against the manifest and against each other.

    reached: the step that the swarm was seen at. interval: seconds of its usual step. Who would be faster than the
    whole swarm is not believed; many times faster than the others is what a GPU among laptops is.
    """
    step = max(reached, swarm_step(records.values(), facts.steps))
    rates = [record.samples_per_second for record in records.values() if record.role == "trainer"]
    losses = [record.loss for record in records.values() if record.role == "trainer" and record.loss is not None]
    most = (step + SLACK_ROUNDS) * facts.global_batch * OVERFULL
    fastest = HASTE * OVERFULL * facts.global_batch / interval if interval else cap_of(rates)
    middle = median(losses) if len(losses) >= FEWEST else None
    checked = Checked()
    for peer, record in records.items():
        change: dict[str, Any] = {}
        words: list[str] = []
        if record.step > facts.steps:
            change["step"] = 0
            words.append(f"claims step {record.step:,} of a run of {facts.steps:,}")
        if record.total_samples > most:
            change["total_samples"] = 0
            words.append(f"claims {record.total_samples:,} samples, more than the whole swarm made")
        if sum(record.tokens_by_language.values()) > most * facts.sequence_length:
            change["tokens_by_language"] = {}
            words.append("claims more tokens than the whole swarm read")
        if record.samples_per_second > fastest and len(rates) < FEWEST:
            change["samples_per_second"] = fastest  # it may compute faster than rounds follow one another
        elif record.samples_per_second > fastest:
            change["samples_per_second"] = 0.0
            words.append(f"claims {record.samples_per_second:,.0f} samples a second, more than the whole swarm makes")
        if record.loss is not None and middle and not middle / LOSS_RATIO <= record.loss <= middle * LOSS_RATIO:
            change |= {"loss": None, "loss_by_language": {}}
            words.append(f"claims a loss of {record.loss:.3g} where the others have {middle:.3g}")
        checked.records[peer] = record.model_copy(update=change) if change else record
        if words:
            checked.implausible[peer] = words
    return checked


VOTING = {"training", "averaging", "paused", "finished", "leaving", "alone"}


def swarm_step(records: Iterable[ProgressRecord], steps: int) -> int:
    """The step that most trainers are at: never the largest that somebody claims. Who is catching up does not vote."""
    trainers = [record for record in records if record.role == "trainer" and record.step <= steps]
    told = [record.step for record in trainers if record.state in VOTING] or [record.step for record in trainers]
    return int(median(told) or 0)
