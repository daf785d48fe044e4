"""Passing messages: what is being done right now, on the terminal's last line, gone when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WIDTH = 110


@contextmanager
def passing() -> Iterator[Callable[[str], None]]:
    """A function that shows a line on standard error in place of the one before; where that is no terminal, nothing."""
    live = sys.stderr.isatty()

    def show(words: str) -> None:
        if live:
            print(f"\r\x1b[K{words[:WIDTH]}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")


@contextmanager
def loading() -> Iterator[None]:
    """Around the imports of what trains: they take seconds, and more on a busy machine."""
    with passing() as say:
        say("Loading torch and the network's libraries ...")
        yield
