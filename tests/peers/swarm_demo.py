"""Running the demo in tests: start it, find every process and port of it, and see that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def start(folder: Path, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    """A demo in a process group of its own, as a shell would start it."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "peers", "demo", "--dir", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=cwd,
    )


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    pause = __import__("threading").Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        pause.wait(0.05)


def tree(process: subprocess.Popen[str]) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def ports(processes: list[psutil.Process]) -> set[int]:
    found = set()
    for process in processes:
        try:
            found |= {c.laddr.port for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def alive(processes: list[psutil.Process]) -> list[str]:
    left = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except psutil.NoSuchProcess:
            continue
    return left


def steps_logged(folder: Path, peer: str) -> int:
    """Steps that a peer has written to its events file so far."""
    path = folder / peer / "events.jsonl"
    return path.read_text(encoding="utf-8").count('"event": "step"') if path.exists() else 0


def interrupt_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)
