"""Prometheus scrapes the peers of a real demo, and every panel of the volunteer's dashboard shows something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from live_prometheus import prometheus, require, wait_for

from monitoring.validate import query, without_series
from tests.peers.swarm_demo import start, steps_logged

PEERS = ("peer-1", "peer-2")
NOT_TOLD = {"hivemind": {"Error of the 8-bit codec"}}  # by averaging algorithm: hivemind encodes out of our sight


def metrics_port(folder: Path, peer: str) -> int:
    lines = (folder / peer / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return next(event["port"] for event in map(json.loads, lines) if event["event"] == "metrics")


def empty(url: str, excepted: set[str]) -> list[str]:
    """The volunteer's panels that would say "No data"."""
    ours = [each for each in without_series(url) if each.dashboard == "volunteer" and each.panel not in excepted]
    return [f"{each.panel}: {each.promql}" for each in ours]


def algorithm(folder: Path) -> str:
    return json.loads((folder / "run" / "manifest.json").read_text(encoding="utf-8"))["manifest"]["averaging"][
        "algorithm"
    ]


@pytest.mark.real
@pytest.mark.timeout(240)
def test_every_panel_has_a_series_from_a_real_demo(tmp_path: Path) -> None:
    require("prometheus")
    folder = tmp_path / "swarm"
    demo = start(folder, "--peers", "2", "--steps", "1000")
    try:
        wait_for(lambda: demo.poll() is not None or all(steps_logged(folder, peer) for peer in PEERS), "steps", 150)
        assert demo.poll() is None, demo.communicate()
        targets = [f"127.0.0.1:{metrics_port(folder, peer)}" for peer in PEERS]
        with prometheus(tmp_path / "prometheus", {"peers": targets}) as url:
            wait_for(lambda: len(query(url, "rate(swarm_steps_applied_total[30s]) > 0")) == 2, "both peers train")
            excepted = NOT_TOLD.get(algorithm(folder), set())
            wait_for(lambda: not empty(url, excepted), lambda: f"a series for {empty(url, excepted)}")
            assert len(query(url, 'swarm_state{state="training"} == 1')) == 2
            agreed = query(url, "max(swarm_step) - min(swarm_step) <= 2")
            assert agreed, query(url, "swarm_step")
    finally:
        demo.terminate()
        demo.wait(20)
