"""A monitor's exporter, fed with every metric of its table: real collector and server, the figures made up."""

from __future__ import annotations

import time

from monitoring.metrics import Metric
from monitoring.series import Series, exposition
from monitoring.server import Request, Response, Server

PLANNED = {"en": 0.6, "hi": 0.4}
AS_TIME = "_timestamp_seconds"


class FedMonitor:
    """`tick` is what one look at the swarm adds."""

    def __init__(self, run: str = "ab" * 32) -> None:
        self.series = Series(("run", "monitor", "probe"), run, {"language": tuple(PLANNED), "version": ("0.1.0",)})
        self.server = Server({"/metrics": self._metrics}, 0)
        self.tick()

    def tick(self) -> None:
        for metric in self.series.metrics:
            for values in metric.known(self.series.sets):
                self._feed(metric, dict(zip(metric.labels, values, strict=True)))
        self.series.put("swarm_run_finished", 0)
        self.series.put("swarm_run_lineages", 1)
        for language, share in PLANNED.items():
            self.series.put("swarm_run_language_planned_ratio", share, language=language)

    def _feed(self, metric: Metric, labels: dict[str, str]) -> None:
        if metric.type == "counter":
            self.series.add(metric.name, 0 if labels.get("outcome") == "missed" else 2, **labels)
        elif metric.type == "histogram":
            self.series.observe(metric.name, 0.2, **labels)
        elif metric.name.endswith(AS_TIME):
            self.series.put(metric.name, time.time(), **labels)
        else:
            self.series.put(
                metric.name, 0 if metric.name.endswith(("_problem", "_problem_peers", "_starved")) else 1, **labels
            )

    def _metrics(self, request: Request) -> Response:
        return Response(*exposition(self.series, request.accept))

    def __enter__(self) -> FedMonitor:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
