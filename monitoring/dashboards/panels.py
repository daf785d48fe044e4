"""What a panel of ours is, in our words, and its translation to Grafana with the foundation SDK.

The SDK gives panels no `id` and leaves empty and `auto*` fields that a Grafana server would fill in: `dashboard` puts
that right, so that the generated file is what Grafana itself would save.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

SOURCE = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRID_WIDTH = 24
Kind = Literal["graph", "number", "bars", "states"]


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """description: what one reads from it and what to do when it is bad. steps: (from value, colour), lowest first."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "graph"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    bounds: tuple[float | None, float | None] = (None, None)
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard: label values of `metric`."""

    name: str
    label: str
    query: str
    multiple: bool = True


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    refresh: str = "10s"
    span: str = "now-1h"


def generate(described: Dashboard) -> str:
    """The dashboard as Grafana's JSON, the same bytes every time."""
    builder = (
        dashboard.Dashboard(described.title)
        .uid(described.uid)
        .description(described.description)
        .tags(["bloomswarm"])
        .refresh(described.refresh)
        .time(described.span, "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in described.variables:
        builder = builder.with_variable(_variable(variable))
    y = 0
    for row in described.rows:
        builder = builder.with_row(dashboard.Row(row.title).grid_pos(model.GridPos(1, GRID_WIDTH, 0, y)))
        y += 1
        for panel, (left, top) in zip(row.panels, _places(row.panels), strict=True):
            builder = builder.with_panel(_panel(panel, left, y + top))
        y += max(top + panel.height for panel, (_, top) in zip(row.panels, _places(row.panels), strict=True))
    value = _tidy(json.loads(JSONEncoder(sort_keys=True).encode(builder.build())))
    for number, panel in enumerate(value["panels"], 1):
        panel["id"] = number
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _places(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """(left, top) of each panel within its row: left to right, a new line where it does not fit."""
    places, left, top, tallest = [], 0, 0, 0
    for panel in panels:
        if left + panel.width > GRID_WIDTH:
            left, top, tallest = 0, top + tallest, 0
        places.append((left, top))
        left, tallest = left + panel.width, max(tallest, panel.height)
    return places


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(SOURCE)
        .query({"query": variable.query, "refId": variable.name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.multiple)
        .include_all(variable.multiple)
        .all_value(".*")
        .current(model.VariableOption(text="All", value="$__all", selected=True))
    )


def _panel(panel: Panel, left: int, top: int) -> Any:
    builder: Any = {"graph": _graph, "number": _number, "bars": _bars, "states": _states}[panel.kind](panel)
    builder = builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    builder = builder.grid_pos(model.GridPos(h=panel.height, w=panel.width, x=left, y=top)).no_value("no data")
    low, high = panel.bounds
    builder = builder if low is None else builder.min(low)
    builder = builder if high is None else builder.max(high)
    builder = builder if panel.decimals is None else builder.decimals(panel.decimals)
    if panel.steps:
        steps = [model.Threshold(value=None if i == 0 else at, color=c) for i, (at, c) in enumerate(panel.steps)]
        builder = builder.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        builder = builder.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").datasource(SOURCE)
        builder = builder.with_target(target.ref_id(chr(ord("A") + number)).range())
    return builder


def _graph(panel: Panel) -> timeseries.Panel:
    builder = timeseries.Panel().line_width(2).fill_opacity(20 if panel.stacked else 6)
    builder = builder.show_points(common_model.VisibilityMode.NEVER)
    builder = builder.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    legend = common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM)
    builder = builder.legend(legend.display_mode(common_model.LegendDisplayMode.LIST))
    if panel.stacked:
        builder = builder.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    return builder


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _number(panel: Panel) -> stat.Panel:
    builder = stat.Panel().reduce_options(_last()).graph_mode(common_model.BigValueGraphMode.AREA)
    return builder.color_mode(
        common_model.BigValueColorMode.VALUE if panel.steps else common_model.BigValueColorMode.NONE
    )


def _bars(panel: Panel) -> bargauge.Panel:
    builder = bargauge.Panel().reduce_options(_last()).orientation(common_model.VizOrientation.HORIZONTAL)
    return builder.display_mode(common_model.BarGaugeDisplayMode.BASIC)


def _states(panel: Panel) -> statetimeline.Panel:
    return statetimeline.Panel().show_value(common_model.VisibilityMode.NEVER)


def _tidy(value: Any) -> Any:
    """Without the fields that say nothing: null, and the SDK's `auto*` defaults of variables."""
    if isinstance(value, dict):
        return {
            key: _tidy(item)
            for key, item in value.items()
            if not (item is None and key != "value") and not key.startswith("auto")
        }
    return [_tidy(item) for item in value] if isinstance(value, list) else value
