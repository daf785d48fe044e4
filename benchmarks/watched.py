"""What being watched costs a peer that really trains: its own calls are timed, in its own process, while others look.

A seed and one peer of the demo's model, the peer with one thread. It is scraped as Prometheus would, every five
seconds, and its page asks every two, as an open browser would. Timed are every call of its reporter, which the training
loop waits for, and the processor time of every answer, which competes with it.

    python -m benchmarks.watched FILE join LINK ...     the peer; it writes what it timed to FILE when it ends
"""

from __future__ import annotations

import atexit
import json
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.demo.follow import Followed, run_to_end
from peers.lifecycle import end_all

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "tiny.toml"
REPORTS = ("step", "figures", "state", "averaging", "checkpoint", "note")
PAGE = ("swarm", "peers", "languages", "rounds")
SCRAPE_SECONDS, PAGE_SECONDS = 5.0, 2.0
WARM_STEPS, TIMED_STEPS = 3, 25
LOOPBACK = ("--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json")


def overhead(folder: Path) -> dict[str, float]:
    """Shares of the time in which the peer trained, and the seconds of a step."""
    run, told = folder / "run", folder / "told.json"
    text = CONFIG.read_text(encoding="utf-8").replace("steps = 40\n", "steps = 100000\n")
    (folder / "run.toml").write_text(text, encoding="utf-8")
    run_to_end("create", ["create", str(folder / "run.toml"), "--dir", str(run)], folder / "create.log", lambda: False)
    seed = Followed("seed", ["seed", str(run), *LOOPBACK], folder / "seed.log")
    started = [seed]
    try:
        link = str(seed.wait_for("seeding", 60, lambda: False)["link"])
        place = ("--yes", "--dir", str(folder / "peer"), "--cache", str(folder / "cache"), "--threads", "1")
        peer = Followed("peer", [str(told), "join", link, *place, *LOOPBACK], folder / "peer.log", "benchmarks.watched")
        started.append(peer)
        url = str(peer.wait_for("metrics", 120, lambda: False)["url"]).removesuffix("/metrics")
        look_on(url, lambda: len(peer.steps) >= WARM_STEPS + TIMED_STEPS or peer.ended)
        assert not peer.ended, peer.last_words()
    finally:
        end_all([one.process for one in started], 20)
    return json.loads(told.read_text(encoding="utf-8"))


def look_on(url: str, done: Callable[[], bool]) -> None:
    """As Prometheus and a browser do."""
    begun = time.monotonic()
    turn = 0
    while not done():
        assert time.monotonic() < begun + 300, "the peer takes too long"
        threading.Event().wait(max(0.0, begun + turn - time.monotonic()))
        paths = [f"/api/v1/{name}" for name in PAGE] if turn % PAGE_SECONDS == 0 else []
        for path in [*paths, *(["/metrics"] if turn % SCRAPE_SECONDS == 0 else [])]:
            with urllib.request.urlopen(url + path, timeout=10) as answer:
                answer.read()
        turn += 1


# --- inside the peer -------------------------------------------------------------------------------------------------


class Stopwatch:
    """spent: seconds by "report" and "answer", from the end of the first steps on."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.steps = 0
        self.began = self.ended = time.perf_counter()
        self.inside = threading.local()

    def around(self, what: str, call: Callable[..., Any], clock: Callable[[], float]) -> Callable[..., Any]:
        """`call`, timed; a call within a timed call counts once."""

        def timed(*arguments: Any, **named: Any) -> Any:
            if getattr(self.inside, "yes", False):
                return call(*arguments, **named)
            self.inside.yes, began = True, clock()
            try:
                return call(*arguments, **named)
            finally:
                self.inside.yes = False
                self.spent[what] += clock() - began  # type: ignore[assignment]

        return timed

    def step(self) -> None:
        self.steps += 1
        self.ended = time.perf_counter()
        if self.steps == WARM_STEPS:
            self.spent.clear()
            self.began = self.ended

    def write(self, path: Path) -> None:
        seconds = self.ended - self.began
        value = {
            "overhead_ratio": (self.spent["report"] + self.spent["answer"]) / seconds,
            "report_ratio": self.spent["report"] / seconds,
            "answer_ratio": self.spent["answer"] / seconds,
            "step_seconds": seconds / (self.steps - WARM_STEPS),
        }
        path.write_text(json.dumps({name: round(each, 6) for name, each in value.items()}), encoding="utf-8")


def watched(path: Path, arguments: list[str]) -> None:
    """Run a command of bloomswarm whose peer is timed."""
    import monitoring.server
    import peers.telling.reporter
    from peers.cli import main

    stopwatch, reporter = Stopwatch(), peers.telling.reporter.Reporter
    for name in REPORTS:
        setattr(reporter, name, stopwatch.around("report", getattr(reporter, name), time.perf_counter))
    step, handler = reporter.step, monitoring.server._handler

    def counted(*given: Any) -> None:
        step(*given)
        stopwatch.step()

    def timed_handler(routes: Any, loopback_only: bool) -> Any:
        return handler(
            {path: stopwatch.around("answer", route, time.thread_time) for path, route in routes.items()}, loopback_only
        )

    reporter.step = counted  # type: ignore[method-assign]
    monitoring.server._handler = timed_handler
    atexit.register(stopwatch.write, path)
    main(arguments)


if __name__ == "__main__":
    watched(Path(sys.argv[1]), sys.argv[2:])
