"""Prometheus scrapes a real demo and its monitor: every panel of both dashboards and every recording rule finds a
series, and what each part of the swarm says about the same thing agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from live_prometheus import MONITORING, prometheus, require, wait_for

from monitoring.metrics import BY_NAME
from monitoring.validate import metric_names, query, recording_rules, rules_without_series, without_series
from tests.peers.swarm_demo import start, steps_logged

PEERS = ("peer-1", "peer-2")
NOT_TOLD = {"hivemind": {"Error of the 8-bit codec", "Same model", "Lineages"}}  # panels, by averaging algorithm
MAY_BE_SILENT = {  # a metric that some swarm need not have: why
    "swarm_gpu_memory_bytes": "no GPU",
    "swarm_gpu_utilization_ratio": "no GPU",
    "swarm_energy_joules_total": "each source has its method, and a machine has some of them",
}


def said(folder: Path, event: str) -> dict[str, object]:
    """The first event of this name that a process has put into its folder."""
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return next(each for each in map(json.loads, lines) if each["event"] == event)


def silent(url: str, excepted: set[str]) -> list[str]:
    """What would show "No data", and the rules that record nothing."""
    panels = [f"{each.panel}: {each.promql}" for each in without_series(url) if each.panel not in excepted]
    return panels + rules_without_series(url)


def manifest(folder: Path) -> dict[str, dict[str, str]]:
    return json.loads((folder / "run" / "manifest.json").read_text(encoding="utf-8"))["manifest"]


@contextmanager
def monitor(link: str, folder: Path) -> Iterator[int]:
    """The real command with its daemon and its prober; the port of its page."""
    command = [sys.executable, "-P", "-m", "peers", "monitor", link, "--port", "0", "--dir", str(folder)]
    folder.mkdir()
    with (folder / "said").open("w") as output:
        process = subprocess.Popen([*command, "--probe-private"], stdout=output, stderr=output)
    try:
        told = lambda: (folder / "events.jsonl").exists() or process.poll() is not None  # noqa: E731
        wait_for(told, (folder / "said").read_text, 60)
        assert process.poll() is None, (folder / "said").read_text()
        yield int(str(said(folder, "monitor")["port"]))
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.real
@pytest.mark.timeout(420)
def test_every_panel_and_recording_rule_has_a_series_from_a_real_swarm(tmp_path: Path) -> None:
    require("prometheus")
    folder = tmp_path / "swarm"
    demo = start(folder, "--peers", "2", "--steps", "1000")
    try:
        wait_for(lambda: demo.poll() is not None or all(steps_logged(folder, peer) for peer in PEERS), "steps", 150)
        assert demo.poll() is None, demo.communicate()
        link = (folder / "run" / "link").read_text(encoding="utf-8").strip()
        peers = [f"127.0.0.1:{said(folder / peer, 'metrics')['port']}" for peer in PEERS]
        with monitor(link, tmp_path / "monitor") as port:
            targets = {"peers": peers, "monitor": [f"127.0.0.1:{port}"]}
            with prometheus(tmp_path / "prometheus", targets) as url:
                examine(url, NOT_TOLD.get(manifest(folder)["averaging"]["algorithm"], set()))
    finally:
        demo.terminate()
        demo.wait(20)


def examine(url: str, excepted: set[str]) -> None:
    wait_for(lambda: len(query(url, "rate(swarm_steps_applied_total[30s]) > 0")) == 2, "both peers train")
    wait_for(lambda: not silent(url, excepted), lambda: f"a series for {silent(url, excepted)}", 120)
    assert len(recording_rules()) > 15
    assert len(query(url, 'swarm_state{state=~"training|averaging"} == 1')) == 2
    assert query(url, "max(swarm_step) - min(swarm_step) <= 2"), query(url, "swarm_step")
    seen = "abs(max(swarm_run_step) - max(swarm_step)) <= 5"  # not scraped at the same moment
    wait_for(lambda: bool(query(url, seen)), "the monitor sees the peers' step", 30)
    assert query(url, 'swarm_run_live_peers{role="trainer"} == 2')
    assert query(url, 'swarm_probe_peers{result="reachable"} >= 2'), "the prober has dialled both"
    for phase in ("compute", "average", "apply"):
        assert query(url, f'sum(rate(swarm_step_seconds_total{{phase="{phase}"}}[1m])) > 0'), phase
    assert len(query(url, "swarm_run_language_loss")) == len(query(url, "swarm_run_language_planned_ratio"))
    assert not missing(url), "metrics that alerts ask for and nobody exports"


def missing(url: str) -> list[str]:
    """Names in alert expressions of which a real swarm exports no series at all."""
    rules = yaml.safe_load((MONITORING / "prometheus" / "rules" / "alerts.yml").read_text(encoding="utf-8"))
    asked = {name for group in rules["groups"] for rule in group["rules"] for name in metric_names(rule["expr"])}
    plain = {name for name in asked if BY_NAME[name].type != "histogram"} - set(MAY_BE_SILENT)
    return sorted(name for name in plain if not query(url, name))
