"""Every command in the README is run as it stands there; only the configuration is made smaller, to be quick."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from swarm.errors import EndedError
from tests.peers.real_swarm import free_port
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
    "docker compose -f monitoring/compose.yaml up": "tests/monitoring/test_stack.py",  # against its files only
    **dict.fromkeys(INVITED, "tests/peers/test_invited.py"),
}
# They run until Ctrl+C: what each says when it is up, and its exit code then.
SERVICES = {
    "bloomswarm seed": ("Others join with", 0),
    "bloomswarm assist": ("Averaging for others", 130),
    "bloomswarm monitor": ("Watching", 0),
    "prometheus": ("ready to receive web requests", 0),
}
ANSWERED = {"curl": '"swarm_run_step"'}  # asked again until this is in the answer
PORTS = ("9465", "9090")  # of the README; the test takes free ones


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]
    return [line for line in lines if line not in ELSEWHERE]


def in_turn() -> list[str]:
    """As written, but who averages for others is there before the peer that trains, whose run ends within seconds."""
    lines = commands()
    join = next(number for number, line in enumerate(lines) if " join " in line)
    return sorted(lines, key=lambda line: join - 0.5 if " assist " in line else lines.index(line))


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
    shutil.copytree(ROOT / "monitoring" / "prometheus", folder / "monitoring" / "prometheus")


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
        assert program == "bloomswarm" or program in {*SERVICES, *ANSWERED}, line
        assert program != "bloomswarm" or name in COMMANDS, line


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_commands_work_as_written(tmp_path: Path) -> None:
    smaller(tmp_path)
    shell = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ports = {port: free_port() for port in PORTS}
    target = tmp_path / "monitoring" / "prometheus" / "targets" / "monitor.json"
    target.write_text(with_ports(target.read_text(encoding="utf-8"), ports), encoding="utf-8")
    installed = shutil.which("prometheus") is not None
    services: list[subprocess.Popen[bytes]] = []
    try:
        for number, line in enumerate(in_turn()):
            if line.split()[0] in ("prometheus", "curl") and not installed:
                warnings.warn(f"not tried, prometheus is not installed: {line}", stacklevel=1)
                continue
            line = with_ports(line, ports)
            link = tmp_path / "my-run" / "link"
            line = line.replace("bloomswarm:...", link.read_text(encoding="utf-8").strip() if services else "")
            if " join " in line or " assist " in line:
                line += " --yes"  # the README's reader answers the question instead
            if started := next((said for name, (said, _) in SERVICES.items() if line.startswith(f"{name} ")), None):
                services.append(serve(line, tmp_path, shell, tmp_path / f"{number}.log", started))
                continue
            if (wanted := ANSWERED.get(line.split()[0])) is not None:
                wait_until(lambda: wanted in output_of(line), 60, f"{line} says {wanted}")  # noqa: B023
                continue
            succeed(line, tmp_path, shell)
        for block in blocks("python"):
            succeed(f"{sys.executable} -c {shlex.quote(block)}", tmp_path, shell)
    finally:
        ended = [end(service) for service in services]
    if ended[1] in (0, EndedError.exit_code):  # who averages for others ended with the run, or missed its few seconds
        ended[1] = SERVICES["bloomswarm assist"][1]
    assert ended == [code for name, (_, code) in SERVICES.items() if installed or name != "prometheus"]


def with_ports(text: str, ports: dict[str, int]) -> str:
    for written, port in ports.items():
        text = text.replace(written, str(port))
    return text


def output_of(line: str) -> str:
    return subprocess.run(shlex.split(line), capture_output=True, text=True, check=False).stdout


def serve(line: str, folder: Path, shell: dict[str, str], log: Path, said: str) -> subprocess.Popen[bytes]:
    """Start a command that runs until it is interrupted, and wait until it says that it is up."""
    with log.open("wb") as output:
        service = subprocess.Popen(shlex.split(line), cwd=folder, env=shell, stdout=output, stderr=output)
    wait_until(lambda: said in log.read_text(encoding="utf-8"), 60, f"{line} says {said!r}")
    return service


def succeed(line: str, folder: Path, shell: dict[str, str]) -> None:
    done = subprocess.run(line, shell=True, cwd=folder, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stderr}"


def end(service: subprocess.Popen[bytes]) -> int:
    service.send_signal(signal.SIGINT)
    return service.wait(20)
