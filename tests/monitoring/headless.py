"""A real browser for tests, which skip, loudly, where none is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import headless
from benchmarks.headless import Browser


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    try:
        with headless.chromium(folder) as tab:
            yield tab
    except headless.NoBrowserError as error:
        pytest.skip(str(error))
