"""What a running peer says: one event at a time, as plain words for a person or one JSON object a line for a program.

The last 200 are also kept in the peer's folder (`events.jsonl`), so that a bug report can hold what led up to it: what
a process said that was killed is kept by the next one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from peers.run_folder import write_atomically

KEPT = 200
OURS = ("swarm", "peers", "monitoring")  # loggers
MAX_BYTES = 1 << 20  # of an earlier process's events, from the end


class Events:
    """Writes events to `stream` and to `folder/events.jsonl`. `form` is "plain" or "json"."""

    def __init__(
        self,
        form: str = "plain",
        folder: Path | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.form = form
        self.stream = stream or sys.stdout
        self.path = folder / "events.jsonl" if folder else None
        self.recent: deque[str] = deque(earlier(self.path) if self.path else (), maxlen=KEPT)
        self.clock = clock
        self.written = 0
        self.context: dict[str, Any] = {}
        self.port: str | None = None  # the last event that told a port: `status` must find it however long ago it was

    def about(self, **values: Any) -> None:
        """What every event from now on also says: of which run, at which step and round."""
        self.context |= values

    def __call__(self, event: str, words: str, **values: Any) -> None:
        """`words` is the sentence for a person; `values` are what a program reads."""
        told = {"time": round(self.clock(), 3), "event": event, "words": words, **self.context, **values}
        record = json.dumps(told, sort_keys=True)
        self.recent.append(record)
        self.port = record if "port" in values else self.port
        self._keep(record)
        line = record if self.form == "json" else f"{time.strftime('%H:%M:%S', time.localtime(self.clock()))} {words}"
        print(line, file=self.stream, flush=True)

    @contextlib.contextmanager
    def with_warnings(self) -> Iterator[Events]:
        """Within it, what our own modules warn of is said like everything else."""
        handler = _Warnings(self)
        for name in OURS:
            logging.getLogger(name).addHandler(handler)
        try:
            yield self
        finally:
            for name in OURS:
                logging.getLogger(name).removeHandler(handler)

    def _keep(self, record: str) -> None:
        if self.path is None:
            return
        self.written += 1
        try:
            if self.written % KEPT == 1:  # rewrite now and then, append in between: the file never grows without bound
                first = [self.port] if self.port is not None and self.port not in self.recent else []
                write_atomically(self.path, "".join(line + "\n" for line in [*first, *self.recent]).encode())
            else:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(record + "\n")
        except OSError as error:  # a full disk must not end the training
            print(f"{self.path} is not written any more: {error.strerror}", file=sys.stderr, flush=True)
            self.path = None


class _Warnings(logging.Handler):
    def __init__(self, events: Events) -> None:
        super().__init__(logging.WARNING)
        self.events = events

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        self.events("warning", words[:1].upper() + words[1:])
        if record.exc_info:  # a bug: it is for who mends it
            print(logging.Formatter().formatException(record.exc_info), file=sys.stderr, flush=True)


def earlier(path: Path) -> list[str]:
    """The last events of processes before this one. A line that was cut off by their end is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_BYTES))
            lines = file.read(MAX_BYTES).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith("{") and line.endswith("}")][-KEPT:]
