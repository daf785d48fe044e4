"""A fleet of processes for benchmarks, one for each peer: told what to do over pipes, timed on the machine's one clock.

What a process does is one of the kinds in `kind_named`. With `links`, each process has a network of its own behind one
of them (`benchmarks.home_links`).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.home_links import HomeLinks

START_SECONDS = 0.3  # from the word to the start, so that all begin at once
END_SECONDS = 20.0


class Fleet:
    """Use as a context manager. `ask` sends one request to every process and returns their answers, in order."""

    def __init__(self, kind: str, count: int, *, links: HomeLinks | None = None, **options: Any) -> None:
        self.kind, self.count, self.links, self.options = kind, count, links, options

    def __enter__(self) -> Fleet:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        addresses: list[str] = []
        for index in range(self.count):
            here, there = context.Pipe()
            home = os.getpid() if self.links is not None else None
            arguments = (self.kind, there, index, self.count, addresses, self.options, home)
            process = context.Process(target=serve, args=arguments)
            process.start()
            there.close()
            if self.links is not None:
                self.links.connect(here, index)
            self.pipes.append(here)
            self.processes.append(process)
            if index == 0:
                addresses = here.recv()
        for pipe in self.pipes[1:]:
            pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def ask(self, what: str, **arguments: Any) -> list[Any]:
        for pipe in self.pipes:
            pipe.send((what, arguments))
        return [pipe.recv() for pipe in self.pipes]

    def timed(self, what: str, **arguments: Any) -> list[dict[str, Any]]:
        """Ask all to begin at the same moment; their answers, with `began` and `ended` of each."""
        return self.ask(what, at=time.monotonic() + START_SECONDS, **arguments)

    def core_seconds(self) -> float:
        """Of all processes, with their daemons, so far: what the cores did, whoever else has used them."""
        import psutil

        return sum(cpu_seconds(psutil.Process(process.pid))[0] for process in self.processes)


def serve(
    kind: str,
    pipe: Connection,
    index: int,
    count: int,
    addresses: Sequence[str],
    options: dict[str, Any],
    home: int | None,
) -> None:
    """One peer's process: do what the pipe says until it says None. home: who carries its packets, if anybody does."""
    if home is not None:
        from benchmarks.home_links import move_in

        move_in(pipe, index, home)
    threads = options.pop("threads", 0)
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before anything that reads it is loaded
    peer = kind_named(kind)(index, count, addresses, **options)
    try:
        pipe.send(peer.addresses())
        while (request := pipe.recv()) is not None:
            what, arguments = request
            at, before = arguments.pop("at", None), cpu_seconds()
            if at is not None:
                time.sleep(max(0.0, at - time.monotonic()))
            began = time.monotonic()
            answer = getattr(peer, what)(**arguments)
            ended = time.monotonic()
            spent = [after - earlier for after, earlier in zip(cpu_seconds(), before, strict=True)]
            pipe.send({"began": at or began, "ended": ended, "cpu": spent, **(answer or {})})
    finally:
        peer.close()


def cpu_seconds(process: Any = None) -> tuple[float, float]:
    """Of this process (or that of psutil) with its children, and of the daemons among them; so far."""
    import psutil

    first = process or psutil.Process()
    processes = [first, *first.children(recursive=True)]
    spent = {process: sum(process.cpu_times()[:2]) for process in processes}
    return sum(spent.values()), sum(seconds for process, seconds in spent.items() if "p2pd" in process.name())


def kind_named(kind: str) -> Any:
    if kind == "donors":
        from benchmarks.donors import Donation

        return Donation
    if kind.endswith("at home"):
        from benchmarks.homes import HivemindAtHome, OursAtHome

        return {"ours at home": OursAtHome, "hivemind at home": HivemindAtHome}[kind]
    from benchmarks.contenders import Hivemind, Ours

    return {"ours": Ours, "hivemind": Hivemind}[kind]
