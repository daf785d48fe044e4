"""Reading ahead: the next batch comes from the disk while this one is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Read = TypeVar("Read")


class ReadAhead(Generic[Read]):
    """`get` what `read` returns; what `expect` named is being read by a thread meanwhile.

    Nothing is read that is not likely to be used: of a step as many batches as the step before took.
    """

    def __init__(self, read: Callable[..., Read]) -> None:
        self._read = read
        self._thread: ThreadPoolExecutor | None = None
        self._coming: tuple[tuple[Any, ...], Future[Read]] | None = None
        self._usual = self._taken = 0

    def begin(self) -> None:
        """A new step: what it reads is not known before it is asked for."""
        self._usual, self._taken, self._coming = self._taken, 0, None

    def get(self, *what: Any) -> Read:
        """read(*what), with its errors. What is being read and was not asked for is forgotten."""
        coming, self._coming = self._coming, None
        self._taken += 1
        return coming[1].result() if coming is not None and coming[0] == what else self._read(*what)

    def expect(self, *what: Any) -> None:
        """This is asked for next, if the step goes on."""
        if self._taken >= self._usual:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._coming = what, self._thread.submit(self._read, *what)
