"""The demo as a new user runs it: real processes, real daemons, a trained model, and nothing left behind."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.peers.swarm_demo import alive, interrupt_group, ports, start, steps_logged, tree, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
BYTES_IN_A_GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One finished demo of two peers, watched while it ran: report, folder and the memory of each peer's tree."""
    folder = tmp_path_factory.mktemp("demo") / "swarm"
    process = start(folder, "--peers", "2", "--steps", "8", "--json")
    memory: dict[int, int] = {}
    seen: dict[int, psutil.Process] = {}
    while process.poll() is None:
        try:
            for one in tree(process):
                seen[one.pid] = one
            for child in psutil.Process(process.pid).children():
                total = sum(p.memory_full_info().pss for p in [child, *child.children(recursive=True)])
                memory[child.pid] = max(memory.get(child.pid, 0), total)
        except psutil.Error:
            continue
        finally:
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return {"report": json.loads(output), "folder": folder, "memory": memory, "left": alive(list(seen.values()))}


def test_report_has_what_it_promises(demo: dict[str, Any]) -> None:
    report = demo["report"]
    assert report["peers"] == 2
    assert report["steps"] == 8
    assert report["last_loss"] < report["first_loss"]
    assert report["rounds"]["committed"] >= 2 * 8 - 2
    assert len(report["parameter_digests"]) == 2
    assert len(report["validation"]) >= 12
    gains = sorted(row["before"] - row["after"] for row in report["validation"].values())
    assert gains[1] > 0, report[
        "validation"
    ]  # after eight steps one (Chinese: 0.23 to -0.02 bits a byte) may be at its start
    assert sum(gains) / len(gains) > 0.2, report["validation"]
    assert json.loads((demo["folder"] / "report.json").read_text(encoding="utf-8")) == report


def test_traffic_is_eight_bit(demo: dict[str, Any]) -> None:
    """Two peers exchange about one byte a parameter each way; float32 would be four."""
    traffic = demo["report"]["bytes_per_parameter_per_step"]
    assert 0.5 < traffic["sent"] < 1.5
    assert 0.5 < traffic["received"] < 1.5


def test_peers_stay_under_a_gigabyte(demo: dict[str, Any]) -> None:
    assert max(demo["memory"].values()) < BYTES_IN_A_GIGABYTE, demo["memory"]


def test_nothing_is_left_running(demo: dict[str, Any]) -> None:
    assert demo["left"] == []


def test_the_loss_curve_is_a_picture(demo: dict[str, Any]) -> None:
    assert (demo["folder"] / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_model_loads_in_transformers(demo: dict[str, Any], tmp_path: Path) -> None:
    from peers.cli import bloomswarm

    target = tmp_path / "model"
    bloomswarm.main(args=["export", demo["report"]["checkpoint"], "--to", str(target)], standalone_mode=False)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(target)
    ids = tokenizer("Water falls as rain", return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], model.config.vocab_size)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_who_is_killed_is_started_again_and_all_end_the_same(tmp_path: Path) -> None:
    """Peers and the seed by SIGKILL, one after another, then all peers at once."""
    folder = tmp_path / "swarm"
    process = start(folder, "--peers", "3", "--steps", "40", "--report", str(tmp_path / "report.json"))
    chance = random.Random(7)
    killed: Counter[str] = Counter()

    def kill(names: list[str]) -> None:
        for child in psutil.Process(process.pid).children():
            command = "" if child.status() == psutil.STATUS_ZOMBIE else " ".join(child.cmdline())
            for name in names:
                if f"{folder}/{name} " in command or (name == "seed" and " seed " in command):
                    child.kill()
                    killed[name] += 1

    try:
        for step in (4, 8, 12, 16):
            name = "seed" if step == 8 else f"peer-{chance.randint(1, 3)}"
            wait_until(lambda step=step: steps_logged(folder, "peer-1") >= step, 150, f"step {step}")
            kill([name])
        wait_until(lambda: steps_logged(folder, "peer-2") >= 22, 150, "step 22")
        kill(["peer-1", "peer-2", "peer-3"])
        output, errors = process.communicate(timeout=500)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output + errors
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["restarts"] == killed
    assert killed.total() == 7
    assert (report["finished"], report["steps"]) == (3, 40)
    assert len(set(report["parameter_digests"].values())) == 1
    assert "Killed on the way" in output


@pytest.mark.parametrize("how", ["SIGINT to the group", pytest.param("SIGTERM to the parent", marks=pytest.mark.slow)])
def test_interrupting_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "swarm"
    process = start(folder, "--peers", "2", "--steps", "1000")
    try:
        wait_until(lambda: steps_logged(folder, "peer-1") >= 1 or process.poll() is not None, 150, "a first step")
        assert process.poll() is None, process.communicate()
        everyone = tree(process)
        listening = ports(everyone)
        if how == "SIGINT to the group":
            interrupt_group(process)
        else:
            process.send_signal(signal.SIGTERM)
        process.wait(5)
        wait_until(lambda: not alive(everyone), 1, "every process ends")
        assert process.returncode == 130
        assert listening
        for port in listening:
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0
        assert not [path for path in folder.rglob("*") if ".tmp" in path.name or ".making" in path.name]
    finally:
        process.kill()
        process.wait()
