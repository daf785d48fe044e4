"""A runbook as somebody follows it who has just got an alert: its commands typed into a shell, its questions asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MONITOR = "http://127.0.0.1:9465"  # what runbooks and `status` take for granted


@dataclass(frozen=True)
class Runbook:
    slug: str

    def blocks(self, language: str) -> list[str]:
        text = (RUNBOOKS / f"{self.slug}.md").read_text(encoding="utf-8")
        return [block for kind, block in BLOCK.findall(text) if kind == language]

    def confirm(self) -> list[str]:
        """The expressions that tell whether it is so."""
        return [block.strip() for block in self.blocks("promql")]

    def concerned(self, link: str, monitor: str) -> list[str]:
        """What each command under "The peers concerned" prints. monitor: where it serves, if not at the usual port."""
        commands = [line for block in self.blocks("sh") for line in block.splitlines()]
        return [typed(line.replace("LINK", f"'{link}'"), monitor) for line in commands]


def typed(line: str, monitor: str) -> str:
    """Standard output of a command line that must succeed."""
    if line.startswith("bloomswarm status"):
        line = f"{line} --monitor {monitor}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line.replace(MONITOR, monitor)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout
