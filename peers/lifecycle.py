"""Signals and child processes: how a peer is told to leave, and how a parent makes sure that nobody is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from swarm.tied import tied

SAME_SECONDS = 1.0  # a terminal's Ctrl+C reaches the whole group, and a parent passes its own on: one request


class Leave:
    """Set by the first SIGINT or SIGTERM; one that comes more than a second later ends the process at once.

    `on_leave` runs once, in a thread of its own, to unblock what waits. `reason` says what made us leave, if it was not
    a signal.
    """

    def __init__(self, on_leave: Callable[[], None] | None = None) -> None:
        self.event = threading.Event()
        self.on_leave = on_leave
        self.reason: str | None = None
        self.asked = 0.0

    def __enter__(self) -> Leave:
        self.previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.event.is_set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.event.is_set():
            self.asked = time.monotonic()
            self._begin()
        elif time.monotonic() - self.asked > SAME_SECONDS:
            raise SystemExit(128 + number)

    def now(self, reason: str) -> None:
        """Leave because something broke that this process cannot do without."""
        if not self.event.is_set():
            self.reason = reason
            self._begin()

    def _begin(self) -> None:
        self.event.set()
        if self.on_leave is not None:
            threading.Thread(target=self.on_leave, name="leave", daemon=True).start()


def spawn(arguments: list[str], module: str = "peers", **options: Any) -> subprocess.Popen[str]:
    """Start `bloomswarm ARGUMENTS` with this interpreter; the child leaves when this process dies."""
    return subprocess.Popen(
        tied([sys.executable, "-P", "-m", module, *arguments], signal.SIGTERM),
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        **options,
    )


def end_all(processes: Iterable[subprocess.Popen[str]], patience_seconds: float) -> None:
    """Ask every process to leave, then make it: after this none of them runs."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + patience_seconds
    for process in alive:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
