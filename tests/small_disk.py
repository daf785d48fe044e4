"""A file system of a few bytes, to be filled: a full disk as a user has it, where this user may mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[bool]:
    """At `folder`, which is made; False where this user may not mount one."""
    folder.mkdir(parents=True)
    asked = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    there = subprocess.run(asked, check=False, capture_output=True).returncode == 0
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """The same for a test that is nothing without it."""
    with mounted(folder, size) as there:
        if not there:
            pytest.skip("NO FULL DISK WAS TESTED: mounting one needs root")
        yield folder
