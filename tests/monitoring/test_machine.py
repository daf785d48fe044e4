"""What a peer's processes cost their machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitoring.machine import Machine

HELD_BYTES = 96 << 20
CHILD = """
import os, sys
os.nice(int(sys.argv[1]))
held = b"x" * int(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def child(niceness: int) -> Iterator[None]:
    command = [sys.executable, "-c", CHILD, str(niceness), str(HELD_BYTES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate()


@pytest.mark.parametrize(("niceness", "counts"), [(0, True), (5, False)])
def test_a_child_counts_as_memory_but_not_one_that_gives_way_to_us(niceness: int, counts: bool) -> None:
    before = Machine().read().memory_bytes
    with child(niceness):
        grown = Machine().read().memory_bytes - before
    assert (grown > 0.9 * HELD_BYTES) == counts, grown
