"""What cannot be written, said once for each cause, and once when it is over: rounds come every few seconds."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)
CALM = 10  # writes in a row that succeed before it is over: on a full disk one in a few finds room


class Complaint:
    """what: the thing that is written, as the reader knows it. Used from one thread at a time."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.causes: set[str] = set()
        self.calm = 0

    def failed(self, error: OSError) -> None:
        cause = error.strerror or str(error)
        self.calm = 0
        if cause not in self.causes:
            self.causes.add(cause)
            logger.warning("%s cannot be written: %s; rounds go on without it", self.what, cause)

    def succeeded(self) -> None:
        self.calm += 1
        if self.causes and self.calm >= CALM:
            self.causes.clear()
            logger.warning("%s is written again", self.what)
