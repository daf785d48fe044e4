"""Table, docs, dashboards and scrape configuration say the same."""

from __future__ import annotations

import re
import subprocess

import pytest
from live_prometheus import MONITORING, require

from monitoring.document import TARGET, document
from monitoring.metrics import BY_NAME, OPEN_SETS, PREFIX, TABLE, Metric
from monitoring.problems import PROBLEMS
from monitoring.validate import expressions, metric_names, recorded_names, recording_rules

NOT_SHOWN = {
    "swarm_run_language_starved",  # an alert asks for it; the panel beside shows the shares
    "swarm_run_directory_records",  # the number of peers says the same
    "swarm_probe_probes_total",
    "swarm_probe_restarts_total",
    "swarm_probe_timestamp_seconds",
    "swarm_probe_up",  # an alert asks for it
}
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


def test_dashboards_use_only_metrics_of_the_table_and_what_is_recorded() -> None:
    recorded = set(recording_rules())
    for each in expressions():
        names, rules = metric_names(each.promql), recorded_names(each.promql)
        assert names or rules, f"{each.dashboard}: {each.panel}: no metric in {each.promql}"
        assert rules <= recorded, f"{each.dashboard}: {each.panel}: not recorded: {rules - recorded}"


def test_the_two_dashboards_show_every_metric_or_the_rules_do() -> None:
    asked = [each.promql for each in expressions()] + list(recording_rules().values())
    shown = {name for promql in asked for name in metric_names(promql)}
    unseen = {metric.name for metric in TABLE if metric.scope in ("run", "probe")} - shown
    assert unseen <= NOT_SHOWN, f"exported and never looked at: {sorted(unseen - NOT_SHOWN)}"


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


ADVISED = re.compile(r"\bbloomswarm\s+([a-z]+)((?:\s+(?:--[a-z-]+|[A-Z_]+|'[^']*'|[0-9]+))*)")


def test_every_command_that_a_problem_or_a_runbook_advises_exists_with_its_options() -> None:
    from peers.cli import COMMANDS, bloomswarm

    texts = [problem.remedy for problem in PROBLEMS]
    texts += [path.read_text(encoding="utf-8") for path in (MONITORING.parent / "docs" / "runbooks").glob("*.md")]
    advised = {found.groups() for text in texts for found in ADVISED.finditer(text)}
    assert len(advised) > 10
    for name, rest in advised:
        assert name in COMMANDS, f"bloomswarm {name}{rest}"
        command = bloomswarm.get_command(None, name)
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"bloomswarm {name}{rest}"
