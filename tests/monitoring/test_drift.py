"""Table, docs, dashboards and scrape configuration say the same."""

from __future__ import annotations

import re
import subprocess

import pytest
from live_prometheus import MONITORING, require

from monitoring.document import TARGET, document
from monitoring.metrics import BY_NAME, OPEN_SETS, PREFIX, TABLE, Metric
from monitoring.validate import expressions, metric_names

UNBOUNDED = {"peer", "peer_id", "host", "address", "instance", "ip"}


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert metric.name.startswith(PREFIX[metric.scope])
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert (metric.type == "counter") == metric.name.endswith("_total")
    assert metric.help.endswith(".")
    assert bool(metric.buckets) == (metric.type == "histogram")
    assert not UNBOUNDED & set(metric.labels)
    for label, among in metric.labels.items():
        assert isinstance(among, tuple) or among == OPEN_SETS[label]


def test_no_name_stands_twice() -> None:
    assert len(BY_NAME) == len(TABLE)


def test_a_name_of_one_scope_does_not_look_like_another_s() -> None:
    others = [prefix for scope, prefix in PREFIX.items() if scope != "peer"]
    for metric in TABLE:
        if metric.scope == "peer":
            assert not metric.name.startswith(tuple(others)), metric.name


def test_the_document_is_what_the_table_says() -> None:
    assert TARGET.read_text(encoding="utf-8") == document(), "run: python -m monitoring.document"


def test_dashboards_use_only_metrics_of_the_table() -> None:
    for each in expressions():
        assert metric_names(each.promql), f"{each.dashboard}: {each.panel}: no metric in {each.promql}"


def test_the_generated_dashboards_are_what_the_code_makes() -> None:
    build = pytest.importorskip("monitoring.dashboards.build", reason="needs grafana-foundation-sdk (the dev extra)")
    made = build.dashboards()
    assert {path.name for path in build.GENERATED.glob("*.json")} == set(made)
    for name, text in made.items():
        assert (build.GENERATED / name).read_text(encoding="utf-8") == text, (
            "run: python -m monitoring.dashboards.build"
        )


def test_promtool_accepts_the_scrape_configuration() -> None:
    config = MONITORING / "prometheus" / "prometheus.yml"
    checked = subprocess.run(
        [require("promtool"), "check", "config", str(config)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
