"""The two commands, from a fresh clone in an empty folder: `make demo` here, `make test` by CI."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(1800)]


def test_make_demo_in_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    shell = {
        name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS"}
    }
    command = ["make", "demo", "DEMO=--peers 2 --steps 3 --report report.json"]
    done = subprocess.run(command, cwd=clone, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((clone / "report.json").read_text(encoding="utf-8"))["steps"] == 3
    activated = ". .venv/bin/activate && bloomswarm --version"
    assert "bloomswarm" in subprocess.check_output(activated, shell=True, cwd=clone, text=True)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout.strip() in {"", "?? report.json"}
