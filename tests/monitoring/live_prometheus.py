"""Debian's Prometheus in the foreground on loopback, for tests; and how to wait for what it must find."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"


def require(program: str) -> str:
    """The path of a Debian program; the test skips, loudly, where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed: apt-get install prometheus prometheus-alertmanager")
    return path


def wait_for(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = 60.0) -> None:
    """what: what is waited for, or how to find out once it did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        late = time.monotonic() >= deadline
        assert not late, f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.1)


@contextlib.contextmanager
def prometheus(folder: Path, targets: dict[str, list[str]], scrape_seconds: float = 1.0) -> Iterator[str]:
    """Runs the shipped configuration with our targets (job's file name -> host:port) and a faster scrape."""
    program = require("prometheus")
    shutil.copytree(MONITORING / "prometheus", folder / "config")
    config = folder / "config" / "prometheus.yml"
    for setting in ("scrape_interval: 5s", "evaluation_interval: 5s"):
        text = config.read_text()
        assert setting in text
        config.write_text(text.replace(setting, setting.replace("5s", f"{scrape_seconds:g}s")))
    for name, addresses in targets.items():
        (folder / "config" / "targets" / f"{name}.json").write_text(json.dumps([{"targets": addresses}]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--storage.tsdb.path={folder / 'data'}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: process.poll() is not None or ready(url), "Prometheus ready")
            assert process.poll() is None, (folder / "prometheus.log").read_text()[-2000:]
            yield url
        finally:
            process.terminate()
            process.wait(20)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
