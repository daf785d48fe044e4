"""Freed memory is used again: the second time, what is written costs no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from swarm.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    spans = [b"x" * (1 << 20) for _ in range(32)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def second_time(how: str) -> int:
    run = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_the_second_time_there_are_no_page_faults() -> None:
    pages = 32 * 256
    assert second_time("default") > pages / 2
    assert second_time("kept") < pages / 10
