"""Where the spans of a download go: to a file, or straight into a newcomer's state, and to disk too where that pays.

Writing every span to a file and reading all of them at the end took a third of a fast download's time, for a file that
is removed a moment later (docs/benchmarks.md). It is there for a process that is killed in a long download.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from swarm.errors import ResourceError
from swarm.state.span_file import span_memory, span_of

if TYPE_CHECKING:
    from swarm.network.download import Place
    from swarm.state.shared import SharedState
    from swarm.state.span_file import SpanFile

UNKEPT_SECONDS = 5.0  # of a download that a killed process may have to do again


class ToFile:
    """For a peer whose state is still of use until all of the other one is there."""

    place: Place | None = None

    def __init__(self, file: SpanFile) -> None:
        self.file = file

    def keep(self, span: int, memory: Sequence[memoryview]) -> None:
        """A span has come and was checked. ResourceError where the disk is full."""
        (data,) = memory
        self.file.write(span, data)

    def give_up(self, initial: Callable[[], SharedState]) -> None:
        """Not all of it comes: the file stays."""


class ToState(ToFile):
    """`keep` is called from several threads at once. Until all spans have come, `state` is neither old nor new."""

    def __init__(self, file: SpanFile, state: SharedState) -> None:
        super().__init__(file)
        self.state = state
        self.place = lambda span: span_memory(state, span)
        self.began, self.turn = time.monotonic(), threading.Lock()
        self.unkept: list[int] = []

    def keep(self, span: int, memory: Sequence[memoryview]) -> None:
        with self.turn:
            self.unkept.append(span)
            if time.monotonic() - self.began < UNKEPT_SECONDS:
                return
            worth, self.unkept = self.unkept, []
        self._write(worth)

    def give_up(self, initial: Callable[[], SharedState]) -> None:
        """What has come is kept on disk, where that has room, and the state is the run's initial one again."""
        with contextlib.suppress(ResourceError):
            self._write(self.unkept)
        self.state.adopt(initial())

    def _write(self, spans: Sequence[int]) -> None:
        for span in spans:
            self.file.write(span, span_of(self.state, span))
