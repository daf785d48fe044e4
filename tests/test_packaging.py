"""The built wheel, installed into an empty environment, runs a demo from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(1500)]


def succeed(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}: {result.stderr[-3000:]}"
    return result.stdout


def test_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    succeed(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", ROOT, cwd=ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"swarm", "peers", "monitoring"}
    for needed in (
        "swarm/configs/tiny.toml",
        "swarm/data/starter/train/en.jsonl",
        "monitoring/prometheus/prometheus.yml",
    ):
        assert needed in names

    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    succeed(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", "torch", cwd=tmp_path)
    succeed(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    program = tmp_path / "env" / "bin" / "bloomswarm"
    report = json.loads(succeed(program, "demo", "--peers", "2", "--steps", "3", "--dir", "d", "--json", cwd=empty))
    assert report["steps"] == 3
    assert report["finished"] == 2
