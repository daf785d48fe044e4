"""Follow one child process: read its JSON events in a thread, keep the latest of each kind, and notice its end.

One that was killed is started again where it was: in the same folder, with the same arguments.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.lifecycle import spawn
from swarm.errors import RunFailedError


class Followed:
    """A started `bloomswarm` command. `steps` holds its step events in order, `latest` the last event of each name.

    restarts: how often it was started again; `fresh` is false from then until it has made a step.
    """

    def __init__(self, name: str, arguments: list[str], log: Path, module: str = "peers") -> None:
        self.name = name
        self.arguments = arguments
        self.module = module
        self.log = log
        self.steps: list[dict[str, Any]] = []
        self.latest: dict[str, dict[str, Any]] = {}
        self.state = "starting"
        self.restarts = 0
        self.fresh = True
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self._start()

    def _start(self) -> None:
        with self.log.open("a", encoding="utf-8") as errors:
            self.process = spawn(self.arguments, self.module, stdout=subprocess.PIPE, stderr=errors)
        self.reader = threading.Thread(target=self._read, name=f"follow-{self.name}", daemon=True)
        self.reader.start()

    @property
    def killed(self) -> bool:
        """By something else than a request to leave, before its work was done. One that failed is no such."""
        code = self.process.poll()
        asked = (-signal.SIGINT, -signal.SIGTERM)
        return code is not None and code < 0 and code not in asked and "finished" not in self.latest

    def again(self) -> None:
        """Start it again where it was."""
        self.reader.join(2)
        self.restarts += 1
        self.fresh = False
        self.state = "was killed; starting again"
        self._start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a library printed something of its own
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        self.state = event.get("words", event["event"])
        if event["event"] == "step":
            self.steps.append(event)
            self.fresh = True
        self.latest[event["event"]] = event

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        """The last line of what the process wrote to standard error."""
        code = self.process.returncode
        if code is not None and code < 0:
            return f"killed by signal {-code} ({signal.strsignal(-code) or 'without a name'})"
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else f"no message; exit code {code}"

    def wait_for(self, event: str, seconds: float, stop: Callable[[], object]) -> dict[str, Any]:
        """The named event, or RunFailedError when the process ends or the time is up without it."""
        deadline = time.monotonic() + seconds
        while event not in self.latest:
            if stop():
                raise KeyboardInterrupt
            if self.ended:
                self.reader.join(2)
                if event in self.latest:
                    break
                raise RunFailedError(f"{self.name} ended: {self.last_words()} (its log: {self.log})")
            if time.monotonic() > deadline:
                raise RunFailedError(f"{self.name} did not get as far as '{event}' in {seconds:.0f} s: see {self.log}")
            time.sleep(0.05)
        return self.latest[event]


def run_to_end(name: str, arguments: list[str], log: Path, stop: Callable[[], object]) -> str:
    """Run a command that ends by itself and return its standard output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as errors, log.with_suffix(".out").open("w+", encoding="utf-8") as output:
        process = spawn(arguments, stdout=output, stderr=errors)
        try:
            while process.poll() is None:
                if stop():
                    raise KeyboardInterrupt
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RunFailedError(f"{name} failed: {words[-1] if words else f'exit code {process.returncode}'}")
    return text
