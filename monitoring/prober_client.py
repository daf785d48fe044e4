"""The prober's process, seen from the monitor: addresses go in, results come out, and a process that ends is restarted.

Results are read as a stranger's words: bounded lines, known fields, anything else is left out.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from monitoring.metrics import REACHED
from swarm.tied import tied

LONGEST_LINE = 20_000
RESTART_SECONDS = 30.0


@dataclass(frozen=True)
class Result:
    peer_id: str
    result: str
    why: str
    seconds: float
    connect_seconds: float | None
    ping_seconds: float | None
    protocols: tuple[str, ...]


class Prober:
    """Use as a context manager, in a thread that lives as long. told: called with each result, in a thread of ours."""

    def __init__(self, told: Callable[[Result], None], private: bool = False, rate: float = 5.0) -> None:
        self.told, self.private, self.rate = told, private, rate
        self.process: subprocess.Popen[str] | None = None
        self.started = 0.0

    def __enter__(self) -> Prober:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask(self, address: str) -> None:
        """Probe this address soon. Nothing where the process is gone; it comes back within half a minute."""
        if not self.up and time.monotonic() - self.started > RESTART_SECONDS:
            self._start()
        if self.up and self.process is not None and self.process.stdin is not None:
            try:
                self.process.stdin.write(address.replace("\n", " ") + "\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                self.process.kill()

    def _start(self) -> None:
        command = [sys.executable, "-P", "-m", "monitoring.prober", "--follow", "--rate", str(self.rate)]
        command += ["--private"] if self.private else []
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            tied(command, signal.SIGTERM),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._read, args=(self.process,), name="prober", daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        while line := process.stdout.readline(LONGEST_LINE):
            result = parse(line)
            if result is not None:
                self.told(result)


def parse(line: str) -> Result | None:
    """One line of the prober, or None for anything else."""
    try:
        value: Any = json.loads(line)
        if value["result"] not in REACHED:
            return None
        return Result(
            str(value["peer_id"]),
            value["result"],
            str(value["why"])[:200],
            float(value["seconds"]),
            _seconds(value["connect_seconds"]),
            _seconds(value["ping_seconds"]),
            tuple(map(str, value["protocols"]))[:64],
        )
    except (ValueError, KeyError, TypeError):
        return None


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
