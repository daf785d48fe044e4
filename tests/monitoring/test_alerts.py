"""The alert rules against promtool: each fires when it should and is silent when it should be; each has its page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from live_prometheus import MONITORING, require
from rule_cases import CASES, HEALTHY, Case

from monitoring.metrics import BY_NAME
from monitoring.problems import BY_SLUG, PROBLEMS
from monitoring.validate import metric_names, recorded_names

ROOT = MONITORING.parent
RULES = sorted((MONITORING / "prometheus" / "rules").glob("*.yml"))
RANK = ("info", "warning", "critical")
SECTIONS = ("## Meaning", "## How to confirm", "## The peers concerned", "## What to do", "## When to stop")


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def only(alert: str) -> list[dict[str, Any]]:
    """The groups of rules with what `alert` is made of, and nothing else: other rules take promtool their time."""
    asked = [rule["expr"] for rule in ALERTS if rule["alert"] == alert]
    wanted: set[str] = set()
    while asked:
        more = recorded_names(asked.pop()) - wanted
        wanted |= more
        asked += [RECORDED[name] for name in more]
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    kept = lambda rule: rule.get("alert") == alert or rule.get("record") in wanted  # noqa: E731
    return [group | {"rules": [rule for rule in group["rules"] if kept(rule)]} for group in groups]


def promtool_tests(folder: Path, tests: list[dict[str, Any]], alert: str | None = None) -> None:
    """Runs `promtool test rules` over `tests`: with all rules, or with those of one alert."""
    file, files = folder / "tests.yml", [str(path) for path in RULES]
    if alert is not None:
        files = [str(folder / "rules.yml")]
        (folder / "rules.yml").write_text(yaml.safe_dump({"groups": only(alert)}))
    asked = {"rule_files": files, "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(asked))
    done = subprocess.run(
        [require("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def asked(case: Case) -> dict[str, Any]:
    """The case in promtool's words: how many instances of the alert fire at that minute."""
    expr = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    found = [{"labels": "{}", "value": case.fires}] if case.fires else []
    series = [{"series": name, "values": values} for name, values in case.series().items()]
    check = {"expr": expr, "eval_time": f"{case.minute}m", "exp_samples": found}
    return {"interval": "1m", "input_series": series, "promql_expr_test": [check]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.why}")
def test_it_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    promtool_tests(tmp_path, [asked(case)], case.alert)


def test_nothing_at_all_fires_in_a_healthy_swarm(tmp_path: Path) -> None:
    series = [{"series": name, "values": values} for name, values in HEALTHY.items()]
    checks = [{"expr": "count(ALERTS)", "eval_time": f"{minute}m", "exp_samples": []} for minute in (1, 60, 300, 550)]
    promtool_tests(tmp_path, [{"interval": "1m", "input_series": series, "promql_expr_test": checks}])


def test_the_words_of_an_alert_name_the_run_and_the_figure(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.alert == "Forked" and case.fires)
    rule = next(rule for rule in ALERTS if rule["alert"] == "Forked")
    annotations = rule["annotations"] | {"summary": "Run abcd has split into 2 lineages"}
    alert = {"exp_labels": {"run": "abcd", **rule["labels"]}, "exp_annotations": annotations}
    check = {"alertname": "Forked", "eval_time": f"{case.minute}m", "exp_alerts": [alert]}
    series = [{"series": name, "values": values} for name, values in case.series().items()]
    promtool_tests(tmp_path, [{"interval": "1m", "input_series": series, "alert_rule_test": [check]}])


def test_two_monitors_of_one_run_double_no_figure(tmp_path: Path) -> None:
    ours = {name: values for name, values in HEALTHY.items() if 'job="bloomswarm-monitor"' in name}
    second = {name.replace('instance="m"', 'instance="m2"'): values for name, values in ours.items()}
    series = [{"series": name, "values": values} for name, values in (HEALTHY | second).items()]
    run = '{run="abcd"}'
    checks = [
        {
            "expr": "swarm:run_peers:sum",
            "eval_time": "60m",
            "exp_samples": [{"labels": f"swarm:run_peers:sum{run}", "value": 10}],
        },
        {
            "expr": "round(60 * sum by (run) (swarm:run_tokens:rate5m))",
            "eval_time": "60m",
            "exp_samples": [{"labels": run, "value": 1500}],
        },
        {"expr": "count(ALERTS)", "eval_time": "60m", "exp_samples": []},
    ]
    promtool_tests(tmp_path, [{"interval": "1m", "input_series": series, "promql_expr_test": checks}])


def test_each_alert_is_tested_firing_and_silent_and_each_problem_is_an_alert() -> None:
    names = {rule["alert"] for rule in ALERTS}
    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names
    assert {problem.alert for problem in PROBLEMS} == names


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']} {rule['labels']['severity']}")
def test_each_alert_says_how_bad_what_who_and_where_to_read_on(rule: dict[str, Any]) -> None:
    problem = next(problem for problem in PROBLEMS if problem.alert == rule["alert"])
    assert rule["labels"]["problem"] == problem.slug
    assert RANK.index(rule["labels"]["severity"]) <= RANK.index(problem.severity)
    assert rule["annotations"]["runbook_url"] == problem.runbook
    assert (ROOT / problem.runbook).is_file()
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].strip().endswith(".")
    command = rule["annotations"]["command"]
    assert command == (
        "bloomswarm status" if rule["alert"] == "PeerDown" else f"bloomswarm status LINK --problem {problem.slug}"
    )


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.slug)
def test_each_runbook_belongs_to_its_alert_and_is_complete(problem: Any) -> None:
    text = (ROOT / problem.runbook).read_text(encoding="utf-8")
    assert text.startswith(f"# {problem.alert}\n")
    assert [heading for heading in SECTIONS if heading not in text] == []
    assert f"--problem {problem.slug}\n" in text or problem.slug == "peer-down"


def test_what_runbooks_tell_to_ask_is_promql_about_what_exists(tmp_path: Path) -> None:
    asked = []
    for problem in PROBLEMS:
        queries = re.findall(r"```promql\n(.*?)```", (ROOT / problem.runbook).read_text(encoding="utf-8"), re.DOTALL)
        assert queries, problem.runbook
        for promql in queries:
            assert metric_names(promql) or recorded_names(promql) or "up{" in promql, promql
            assert recorded_names(promql) <= set(RECORDED)
            asked.append({"record": f"runbook:{problem.slug.replace('-', '_')}", "expr": promql})
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": asked}]}))
    checked = subprocess.run(
        [require("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_there_is_no_runbook_without_an_alert() -> None:
    assert {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} == set(BY_SLUG)


def test_rules_use_only_the_table_and_what_is_recorded() -> None:
    for rule in rules():
        names = metric_names(rule["expr"])
        assert names <= set(BY_NAME)
        assert recorded_names(rule["expr"]) <= set(RECORDED), rule["expr"]
        assert names or recorded_names(rule["expr"]) or "up{" in rule["expr"], rule["expr"]


def test_promtool_accepts_the_rules() -> None:
    checked = subprocess.run(
        [require("promtool"), "check", "rules", *map(str, RULES)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(ALERTS) + len(RECORDED) == sum(map(int, re.findall(r"SUCCESS: (\d+) rules found", checked.stdout)))
