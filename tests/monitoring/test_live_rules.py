"""A live Prometheus with the shipped rules: every panel and every recording rule finds something, and a killed monitor
is noticed."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from fed_monitor import FedMonitor
from fed_peer import fed_exporter, tell
from live_prometheus import prometheus, require, wait_for
from pretend_swarm import STEP_SECONDS, Pretend

from monitoring.monitor_exporter import MonitorExporter
from monitoring.series import exposition
from monitoring.server import Server
from monitoring.validate import expressions, query, recording_rules, rules_without_series, without_series


def alerts(url: str) -> set[str]:
    """Alerts that are pending or firing."""
    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=10) as response:
        return {alert["labels"]["alertname"] for alert in json.load(response)["data"]["alerts"]}


@pytest.mark.real
@pytest.mark.slow
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


@pytest.mark.real
@pytest.mark.slow
def test_the_monitor_s_own_exporter_fills_every_panel_of_the_operator(tmp_path: Path) -> None:
    swarm = Pretend(peers=4)
    exporter = MonitorExporter(swarm.watch)
    server = Server(exporter.routes(), 0)

    def look() -> None:
        swarm.now = time.time() - STEP_SECONDS  # a look begins with a step's time
        swarm.run(1, rejected={"expired": swarm.step})
        exporter.refreshed(True, 0.2)
        exporter.prober(True)
        exporter.probe("reachable", 0.3)
        exporter.probed(dict.fromkeys(swarm.ids, "reachable"), [0.2], [0.05])

    look()
    server.start()
    try:
        with prometheus(tmp_path, {"monitor": [f"127.0.0.1:{server.port}"]}) as url:
            for _ in range(4):
                seen = swarm.step
                wait_for(lambda: query(url, f"swarm_run_step == {seen}"), f"step {seen}")  # noqa: B023
                look()
            wait_for(lambda: not empty(url), lambda: f"a series for {empty(url)}")
            (finished,) = query(url, "swarm:run_watched:bool")
            assert finished["value"][1] == "1"
    finally:
        server.close()


def empty(url: str) -> list[str]:
    """The operator's panels, and the recording rules about the run, that find nothing."""
    panels = [each.panel for each in without_series(url) if each.dashboard == "operator"]
    return panels + [name for name in rules_without_series(url) if ":run_" in name]


def test_promtool_has_no_complaint_about_the_monitor_s_metrics() -> None:
    promtool, monitor = require("promtool"), FedMonitor()
    text = exposition(monitor.series)[0].decode()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
