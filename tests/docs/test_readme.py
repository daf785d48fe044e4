"""Every command in the README is run as it stands there; only the configuration is made smaller, to be quick."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.swarm_demo import wait_until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUEST = "12D3KooWB8WgP1kYJzXYvHmWNvxFhfmkfJxeeVzRcJjnzVyFeHkk"
INVITED = (
    "bloomswarm create configs/invited.toml --dir our-run",
    f"bloomswarm invite our-run {GUEST} --days 90",
    f"bloomswarm revoke our-run {GUEST}",
)
ELSEWHERE = {  # commands that other tests and CI run
    "make demo": "tests/test_fresh_clone.py",
    "make test": ".ci/run",
    ". .venv/bin/activate": "tests/test_fresh_clone.py",
    "bloomswarm archive 'bloomswarm:...' --dir my-archive --keep 5": "tests/peers/test_archive.py",
    **dict.fromkeys(INVITED, "tests/peers/test_invited.py"),
}
# They run until Ctrl+C: what each says when it is up, and its exit code then.
SERVICES = {"seed": ("Others join with", 0), "assist": ("Averaging for others", 130), "monitor": ("Watching", 0)}


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


def test_what_other_tests_run_stands_here() -> None:
    for line, place in ELSEWHERE.items():
        assert line in README, line
        assert (ROOT / place).is_file(), place


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
@pytest.mark.timeout(240)
def test_the_commands_work_as_written(tmp_path: Path) -> None:
    smaller(tmp_path)
    shell = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    services: list[subprocess.Popen[bytes]] = []
    try:
        for number, line in enumerate(commands()):
            link = tmp_path / "my-run" / "link"
            line = line.replace("bloomswarm:...", link.read_text(encoding="utf-8").strip() if services else "")
            if " join " in line or " assist " in line:
                line += " --yes"  # the README's reader answers the question instead
            if started := next((said for name, (said, _) in SERVICES.items() if f" {name} " in line), None):
                services.append(serve(line, tmp_path, shell, tmp_path / f"{number}.log", started))
                continue
            succeed(line, tmp_path, shell)
        for block in blocks("python"):
            succeed(f"{sys.executable} -c {shlex.quote(block)}", tmp_path, shell)
    finally:
        ended = [end(service) for service in services]
    assert ended == [code for _, code in SERVICES.values()]


def serve(line: str, folder: Path, shell: dict[str, str], log: Path, said: str) -> subprocess.Popen[bytes]:
    """Start a command that runs until it is interrupted, and wait until it says that it is up."""
    with log.open("wb") as output:
        service = subprocess.Popen(shlex.split(line), cwd=folder, env=shell, stdout=output)
    wait_until(lambda: said in log.read_text(encoding="utf-8"), 60, f"{line} says {said!r}")
    return service


def succeed(line: str, folder: Path, shell: dict[str, str]) -> None:
    done = subprocess.run(line, shell=True, cwd=folder, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stderr}"


def end(service: subprocess.Popen[bytes]) -> int:
    service.send_signal(signal.SIGINT)
    return service.wait(20)
