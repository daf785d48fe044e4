"""Every command in the README is run as it stands there; only the configuration is made smaller, to be quick."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.swarm_demo import wait_until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ELSEWHERE = {  # commands that other tests and CI run
    "make demo": "tests/test_fresh_clone.py",
    "make test": ".ci/run",
    ". .venv/bin/activate": "tests/test_fresh_clone.py",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]
    return [line for line in lines if line not in ELSEWHERE]


def smaller(folder: Path) -> None:
    """configs/ as in the checkout, with a tiny.toml that trains its 40 steps in seconds."""
    (folder / "configs").mkdir()
    for config in (ROOT / "configs").glob("*.toml"):
        text = config.read_text(encoding="utf-8")
        if config.name == "tiny.toml":
            for key, value in {
                "vocab_size": 300,
                "hidden_size": 32,
                "layers": 1,
                "heads": 2,
                "sequence_length": 32,
                "global_batch": 4,
            }.items():
                text, count = re.subn(rf"(?m)^{key} = \d[\d_]*", f"{key} = {value}", text)
                assert count == 1, key
        (folder / "configs" / config.name).write_text(text, encoding="utf-8")


def test_files_and_pictures_that_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_every_command_is_known() -> None:
    from peers.cli import COMMANDS

    for line in commands():
        program, name = line.split()[:2]
        assert program == "bloomswarm", line
        assert name in COMMANDS, line


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_commands_work_as_written(tmp_path: Path) -> None:
    smaller(tmp_path)
    shell = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    seed: subprocess.Popen[str] | None = None
    try:
        for line in commands():
            if " seed " in line:
                seed = subprocess.Popen(line.split(), cwd=tmp_path, env=shell, stdout=subprocess.PIPE, text=True)
                wait_until((tmp_path / "my-run" / "link").is_file, 60, "the seed's link")
                continue
            link = (tmp_path / "my-run" / "link").read_text(encoding="utf-8").strip() if seed else ""
            line = line.replace("bloomswarm:...", link)
            if " join " in line:
                line += " --yes"  # the README's reader answers the question instead
            done = subprocess.run(
                line, shell=True, cwd=tmp_path, env=shell, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
        for block in blocks("python"):
            done = subprocess.run(
                [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    finally:
        if seed is not None:
            seed.send_signal(signal.SIGINT)
            assert seed.wait(10) == 0
