"""The present values of the table's metrics, and the collector that hands them to prometheus_client.

Not prometheus_client's own Counter and Gauge: totals that are counted elsewhere (bytes, energy) are set and not added
up, labels are checked against the table, and every counter with bounded labels is there from the start, so that "none
yet" reads 0 and not "No data". `run` is on every series, so that two runs in one Prometheus never mix.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

from monitoring.metrics import BY_NAME, OTHER, Metric, Scope, of_scope

Key = tuple[str, tuple[str, ...]]  # metric name, label values in the table's order
NO_RUN = "none"


class Series:
    """Values by (name, labels). Thread-safe. `sets`: values of the table's open label sets (language, version)."""

    def __init__(self, scopes: Iterable[Scope], run: str = "", sets: Mapping[str, Iterable[str]] | None = None) -> None:
        self.run = run[:16] or NO_RUN
        self.sets = {label: tuple(dict.fromkeys((*values, OTHER))) for label, values in (sets or {}).items()}
        self.metrics = tuple(metric for scope in scopes for metric in of_scope(scope))
        self._names = {metric.name for metric in self.metrics}
        self._lock = threading.Lock()
        self._values: dict[Key, float] = {}
        self._histograms: dict[Key, list[float]] = {}  # counts per bucket and +Inf, then the sum
        self._start_at_zero()

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count up. A negative amount is our own bug."""
        assert amount >= 0, f"{name} cannot go down by {-amount}"
        key = self._key(name, labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def total(self, name: str, total: float, **labels: str) -> None:
        """A counter that is counted elsewhere; a smaller total than before is ignored."""
        key = self._key(name, labels)
        with self._lock:
            self._values[key] = max(self._values.get(key, 0.0), total)

    def put(self, name: str, value: float | None, **labels: str) -> None:
        """Set a gauge; None takes it away, so that an unknown value is absent and not 0."""
        key = self._key(name, labels)
        with self._lock:
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = float(value)

    def widen(self, label: str, values: Iterable[str]) -> None:
        """Another open label set, as an amended run has other languages."""
        self.sets[label] = tuple(dict.fromkeys((*values, OTHER)))

    def one_of(self, name: str, value: str) -> None:
        """A gauge with one label: 1 for `value`, 0 for the rest of its set."""
        metric = self.metric(name)
        (label,) = metric.labels
        for (known,) in metric.known(self.sets):
            self.put(name, float(known == value), **{label: known})

    def observe(self, name: str, value: float, **labels: str) -> None:
        """One observation of a histogram."""
        key = self._key(name, labels)
        buckets = self.metric(name).buckets
        with self._lock:
            cells = self._histograms.setdefault(key, [0.0] * (len(buckets) + 2))
            cells[bisect_left(buckets, value)] += 1
            cells[-1] += value

    def get(self, name: str, **labels: str) -> float | None:
        with self._lock:
            return self._values.get(self._key(name, labels))

    def by_label(self, name: str) -> dict[tuple[str, ...], float]:
        """All present values of one metric by its label values."""
        with self._lock:
            return {labels: value for (each, labels), value in self._values.items() if each == name}

    def count(self, name: str) -> int:
        """How many observations a histogram holds, over all its labels."""
        with self._lock:
            return int(sum(sum(cells[:-1]) for (each, _), cells in self._histograms.items() if each == name))

    def collect(self) -> Iterator[Family]:
        """What prometheus_client calls on every scrape."""
        with self._lock:
            values, histograms = dict(self._values), {key: list(cells) for key, cells in self._histograms.items()}
        by_name: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for (name, labels), value in values.items():
            by_name.setdefault(name, []).append((labels, value))
        for metric in self.metrics:
            if metric.type == "histogram":
                cells_of = [(key[1], cells) for key, cells in histograms.items() if key[0] == metric.name]
                yield _histogram(metric, self.run, cells_of)
            elif rows := by_name.get(metric.name):
                yield _plain(metric, self.run, rows)

    def metric(self, name: str) -> Metric:
        assert name in self._names, f"{name} is not in the table of these scopes"
        return BY_NAME[name]

    def _key(self, name: str, labels: Mapping[str, str]) -> Key:
        metric = self.metric(name)
        assert labels.keys() == metric.labels.keys(), f"{name} has the labels {list(metric.labels)}"
        return name, tuple(self._bounded(label, among, labels[label]) for label, among in metric.labels.items())

    def _bounded(self, label: str, among: tuple[str, ...] | str, value: str) -> str:
        known = self.sets.get(label, (OTHER,)) if isinstance(among, str) else among
        assert value in known or OTHER in known, f"{label}={value!r} is not one of {known}"
        return value if value in known else OTHER

    def _start_at_zero(self) -> None:
        for metric in self.metrics:
            for labels in metric.known(self.sets):
                if metric.type == "counter" and metric.from_start:
                    self._values[metric.name, labels] = 0.0
                elif metric.type == "histogram":
                    self._histograms[metric.name, labels] = [0.0] * (len(metric.buckets) + 2)


def _plain(metric: Metric, run: str, rows: list[tuple[tuple[str, ...], float]]) -> Family:
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=("run", *metric.labels))
    for labels, value in rows:
        family.add_metric((run, *labels), value)
    return family


def _histogram(metric: Metric, run: str, rows: list[tuple[tuple[str, ...], list[float]]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=("run", *metric.labels))
    for labels, cells in rows:
        running, buckets = 0.0, []
        for bound, count in zip((*map(str, metric.buckets), "+Inf"), cells, strict=False):
            running += count
            buckets.append((bound, running))
        family.add_metric((run, *labels), buckets, sum_value=cells[-1])
    return family


def exposition(series: Series, accept: str = "") -> tuple[bytes, str]:
    """The text that Prometheus scrapes, and its content type, in the form that `accept` asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(series)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
