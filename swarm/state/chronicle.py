"""The chronicle: what a peer saw of the whole run, kept in its checkpoints, for the model card of a release.

Peers, samples and rounds come from committed rounds. Energy and tokens by language are what peers told in their
records: each one's totals are counted on from where it was first seen, so what was spent before is not in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import Field

from swarm.errors import ConfigError
from swarm.records import Count, EnergySource, Joules
from swarm.run.schema import Language
from swarm.validation import Strict, parse

if TYPE_CHECKING:
    from swarm.averaging.averager import Averaged
    from swarm.records import ProgressRecord

MOST_PEERS = 4096  # remembered by name; beyond it they are only counted in rounds
MOST_WATTS = 20_000.0  # of one peer: more is not believed


class Chronicle(Strict):
    """Of the rounds from `first_step` on in which this peer was there, `rounds` of them. Grown in place."""

    first_step: Count = 0
    rounds: Count = 0
    peers: set[str] = Field(default_factory=set, max_length=MOST_PEERS)  # that gave samples
    samples: Count = 0
    tokens: dict[Language, Count] = Field(default_factory=dict, max_length=256)
    joules: dict[EnergySource, Joules] = Field(default_factory=dict)
    grams: float = Field(default=0.0, ge=0, le=1e18)  # of CO2
    metered: set[str] = Field(default_factory=set, max_length=MOST_PEERS)  # peers that told their energy


class Chronicler:
    """Feeds a chronicle; `kept` is the one of the checkpoint that this peer goes on from."""

    def __init__(self, kept: Any, step: int) -> None:
        self.chronicle = Chronicle(first_step=step)
        if isinstance(kept, Mapping):
            with suppress(ConfigError):  # of another version: begun anew, and the card says from which step
                self.chronicle = parse(Chronicle, dict(kept), "the checkpoint's chronicle")
        self.before: dict[str, ProgressRecord] = {}

    def round(self, outcome: Averaged) -> None:
        """A committed round was applied."""
        chronicle, gave = self.chronicle, [member for member in outcome.roster if member.samples]
        self.chronicle = chronicle.model_copy(
            update={
                "rounds": chronicle.rounds + 1,
                "samples": chronicle.samples + outcome.samples,
                "peers": _more(chronicle.peers, (member.peer_id for member in gave)),
            }
        )

    def look(self, records: Mapping[str, ProgressRecord]) -> None:
        """What peers tell now, against what they told when they were looked at last."""
        chronicle, tokens = self.chronicle, Counter(self.chronicle.tokens)
        joules, grams, metered = dict(chronicle.joules), chronicle.grams, set(chronicle.metered)
        for peer, record in records.items():
            before = self.before.get(peer)
            if before is None or record.started != before.started:
                continue  # its past is not ours to count
            for code, count in record.tokens_by_language.items():
                if code in tokens or len(tokens) < 256:
                    tokens[code] += max(0, count - before.tokens_by_language.get(code, 0))
            spent = _spent(before, record)
            for source, amount in spent.items():
                joules[source] = joules.get(source, 0.0) + amount
            grams += max(0.0, record.carbon_grams - before.carbon_grams) if spent else 0.0
            metered = _more(metered, [peer] if spent else [])
        self.before = dict(records)
        self.chronicle = chronicle.model_copy(
            update={"tokens": dict(tokens), "joules": joules, "grams": grams, "metered": metered}
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, the same order every time."""
        value = self.chronicle.model_dump(mode="json")
        return value | {name: sorted(value[name]) for name in ("peers", "metered")}


def _spent(before: ProgressRecord, record: ProgressRecord) -> dict[EnergySource, float]:
    """Joules by source since the record before; nothing where it is more than a machine can take."""
    spent = {
        source: max(0.0, joules - before.energy_joules.get(source, 0.0))
        for source, joules in record.energy_joules.items()
    }
    seconds = (record.clock or 0.0) - (before.clock or 0.0)
    return spent if 0 < sum(spent.values()) <= MOST_WATTS * seconds else {}


def _more(names: set[str], new: Iterable[str]) -> set[str]:
    """`names` and the new ones, as far as there is room."""
    found = set(names)
    for name in new:
        if len(found) < MOST_PEERS:
            found.add(name)
    return found
