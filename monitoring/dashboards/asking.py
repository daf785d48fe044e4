"""How the operator's panels ask the monitor: of one run, of several monitors the larger figure."""

from __future__ import annotations

from monitoring.dashboards.panels import Panel, Query

GREEN, AMBER, RED = "green", "orange", "red"
RATE = "$__rate_interval"
RUN = '{run=~"$run"}'


def of(**labels: str) -> str:
    """The label selector of the run chosen at the top of the dashboard."""
    return "{" + ", ".join(['run=~"$run"', *(f'{name}="{value}"' for name, value in labels.items())]) + "}"


def most(metric: str, *by: str) -> str:
    """One metric, of several monitors the larger."""
    return f"max by ({', '.join(('run', *by))}) (swarm_{metric}{RUN})"


def or_none(expr: str, label: str) -> str:
    """`expr` where it has series above 0, else one at 0 whose `label` says none: no gap, and no nameless line."""
    nothing = f'label_replace(vector(0), "{label}", "none", "", "")'
    return f"({expr}) > 0 or ({nothing} unless on () (({expr}) > 0))"


def number(title: str, description: str, expr: str, unit: str = "short", *steps: tuple[float, str]) -> Panel:
    query = Query(expr, "{{run}}")
    return Panel(title, description, (query,), unit=unit, kind="number", width=4, height=5, steps=steps)


def by_percentile(title: str, description: str, metric: str, unit: str = "short") -> Panel:
    return Panel(title, description, (Query(most(metric, "percentile"), "{{percentile}} % of peers below"),), unit=unit)


def slowest(histogram: str, quantile: float) -> str:
    return f"histogram_quantile({quantile}, sum by (run, le) (rate({histogram}_bucket{RUN}[{RATE}])))"
