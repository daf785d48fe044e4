"""Debian's Chromium, headless, driven over its own debugging protocol: what a person sees, for tests and timings."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
    "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip


class NoBrowserError(Exception):
    """None is installed; the message says how to get one."""


class Browser:
    """One tab. `evaluate` runs JavaScript in it and gives its value. Messages end in NUL, on two pipes."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self.commands, self.answers, self.number = commands, answers, 0
        self.session: dict[str, str] = {}
        self.target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while True:
            answer = json.loads(self._receive())
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    @contextlib.contextmanager
    def tab(self) -> Iterator[Browser]:
        """Another tab of the same browser, in front; closed at the end."""
        other = Browser(self.commands, self.answers)
        yield other
        self.number = other.number  # they share the pipes: an answer must not be taken for an earlier one
        self.send("Target.closeTarget", targetId=other.target)

    def _receive(self) -> bytes:
        """The next message; the test's own timeout ends a browser that says nothing."""
        data = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "chromium ended"
            data += byte
        return bytes(data)

    def open(self, url: str, width: int = 1200, height: int = 1350, dark: bool = False, mobile: bool = False) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self.send("Page.enable")
        self.send("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {script}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def screenshot(self, path: Path) -> None:
        image = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(image["data"]))


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A fresh browser with its profile in `folder`. NoBrowserError where none is installed."""
    program = shutil.which("chromium")
    if program is None:
        raise NoBrowserError("chromium is not installed: apt-get install chromium")
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    command = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'  # the two numbers that chromium expects
    arguments = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    with (folder / "chromium.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", command, "chromium", *arguments],
            stdout=log,
            stderr=log,
            pass_fds=(read_commands, write_answers),
        )
    os.close(read_commands)
    os.close(write_answers)
    try:
        with os.fdopen(write_commands, "wb") as commands, os.fdopen(read_answers, "rb") as answers:
            yield Browser(commands, answers)
    finally:
        process.terminate()
        process.wait(20)
