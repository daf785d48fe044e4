"""A live Prometheus with the shipped rules: every panel and every recording rule finds something, and a killed monitor
is noticed."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from fed_monitor import FedMonitor
from fed_peer import fed_exporter, tell
from live_prometheus import prometheus, require, wait_for

from monitoring.series import exposition
from monitoring.validate import expressions, query, recording_rules, rules_without_series, without_series


def alerts(url: str) -> set[str]:
    """Alerts that are pending or firing."""
    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=10) as response:
        return {alert["labels"]["alertname"] for alert in json.load(response)["data"]["alerts"]}


@pytest.mark.real
def test_every_panel_and_recording_rule_has_a_series_and_a_killed_monitor_is_noticed(tmp_path: Path) -> None:
    with fed_exporter() as peer, FedMonitor() as monitor:
        targets = {"peers": [f"127.0.0.1:{peer.port}"], "monitor": [f"127.0.0.1:{monitor.server.port}"]}
        with prometheus(tmp_path, targets) as url:
            step = 4
            for scrapes in (2, 4):
                wait_for(lambda: query(url, f"count_over_time(swarm_run_step[1m]) > {scrapes}"), "scrapes")  # noqa: B023
                monitor.tick()
                tell(peer, step)
                step += 1
            wait_for(lambda: not without_series(url) and not rules_without_series(url), "a series for every expression")
            assert [(each.dashboard, each.panel) for each in without_series(url)] == []
            assert {"operator", "volunteer"} == {each.dashboard for each in expressions()}
            assert len(list(expressions())) > 60
            assert len(recording_rules()) > 15
            assert "MonitorDown" not in alerts(url)
            monitor.server.close()
            wait_for(lambda: "MonitorDown" in alerts(url), "MonitorDown")
            assert not query(url, "swarm_run_step"), "the series of a dead monitor end, and no old figure stays"


def test_promtool_has_no_complaint_about_the_monitor_s_metrics() -> None:
    promtool, monitor = require("promtool"), FedMonitor()
    text = exposition(monitor.series)[0].decode()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
