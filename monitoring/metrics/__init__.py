"""The one table of metrics: every name that a peer, a monitor or a prober may export, and what its labels may say.

Exporters, dashboards, alert rules and `docs/metrics.md` are checked against it. Labels come only from bounded sets: no
peer id, host name, address or anything else that a stranger writes can become one, so the number of series is bounded
by these files. Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters.

    swarm_*           one peer, exported by itself            swarm_run_*      the whole swarm, exported by `monitor`
    swarm_monitor_*   the monitor about itself                swarm_probe_*    what the prober found from outside
"""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.metrics.labels import (
    DEPARTURES,
    DIRECTIONS,
    METHOD_OF,
    METHODS,
    MISSED_REASONS,
    OPEN_SETS,
    OTHER,
    PERCENTILES,
    PHASES,
    PROBLEMS,
    PURPOSES,
    REACHED,
    REJECTED,
    ROLES,
    ROUND_RESULTS,
    SOURCES,
    STATES,
)
from monitoring.metrics.metric import PREFIX, Metric, Scope, Type
from monitoring.metrics.outside import MONITOR_METRICS, PROBE_METRICS
from monitoring.metrics.peer import PEER_METRICS
from monitoring.metrics.run import RUN_METRICS

__all__ = [
    "BY_NAME",
    "DEPARTURES",
    "DIRECTIONS",
    "METHODS",
    "METHOD_OF",
    "MISSED_REASONS",
    "OPEN_SETS",
    "OTHER",
    "PERCENTILES",
    "PHASES",
    "PREFIX",
    "PROBLEMS",
    "PURPOSES",
    "REACHED",
    "REJECTED",
    "ROLES",
    "ROUND_RESULTS",
    "SOURCES",
    "STATES",
    "TABLE",
    "Metric",
    "Scope",
    "Type",
    "of_scope",
]

TABLE: tuple[Metric, ...] = (*PEER_METRICS, *RUN_METRICS, *MONITOR_METRICS, *PROBE_METRICS)
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in TABLE}


def of_scope(scope: Scope) -> tuple[Metric, ...]:
    return tuple(metric for metric in TABLE if metric.scope == scope)
