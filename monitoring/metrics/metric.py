"""What one row of the table is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from monitoring.metrics.labels import Labels

Type = Literal["counter", "gauge", "histogram"]
Scope = Literal["peer", "run", "monitor", "probe"]

PREFIX: Mapping[Scope, str] = {
    "peer": "swarm_",
    "run": "swarm_run_",
    "monitor": "swarm_monitor_",
    "probe": "swarm_probe_",
}


@dataclass(frozen=True)
class Metric:
    """One row. `pairs`, where given, are the only combinations of label values that exist."""

    name: str
    type: Type
    unit: str
    help: str
    scope: Scope
    labels: Labels = field(default_factory=dict)
    pairs: tuple[tuple[str, ...], ...] | None = None
    buckets: tuple[float, ...] = ()
    gpu: bool = False  # exists only where there is a GPU
    from_start: bool = True  # a counter of which every combination exists from the start, at zero

    def known(self, sets: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
        """Every combination of label values; `sets` gives the open ones by label name."""
        if self.pairs is not None:
            return iter(self.pairs)
        values = [sets.get(label, ()) if isinstance(among, str) else among for label, among in self.labels.items()]
        return itertools.product(*values)


def rows(scope: Scope, type: Type, *rows: tuple) -> Iterator[Metric]:
    """Metrics of one scope and type: (name without prefix, unit, help, then `Metric`'s fields from `labels` on)."""
    for name, unit, text, *rest in rows:
        yield Metric(PREFIX[scope] + name, type, unit, text, scope, *rest)
