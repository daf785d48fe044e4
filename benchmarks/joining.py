"""`python -m benchmarks.joining`: how long a newcomer takes to contribute, and how fast it gets the run's state.

A seed and four peers of a 30M-parameter run train on this machine as processes of their own, through the command line;
their computing is replayed (`benchmarks/paced.py`): what samples take is recorded here a moment before, and then waited
for, so that the cores are free for what is measured. A fifth joins: from the start of its process to its first
committed contribution. Then, without a swarm: a whole state of the same size from one donor, checked and in memory,
beside the bytes alone on one of the transport's streams; and from one and three donors whose upload is capped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.contenders import peak
from benchmarks.donors import keep_state, run_of
from benchmarks.fleet import Fleet
from peers.demo.follow import Followed, run_to_end
from peers.lifecycle import end_all

GOALS = {"join_seconds": "30 s + a round", "download_fraction": 0.8, "three_donors_ratio": 2.5}
CONFIG = """
name = "joining"
[model]
vocab_size = 4096
hidden_size = 512
layers = 9
heads = 8
sequence_length = 128
[data]
sources = [{ kind = "starter", licence = "CC-BY-SA-3.0" }]
[training]
steps = 100000
global_batch = 32
[averaging]
span_size = 262144
"""
VALUES = 30_528_000  # about; for the share of memory that model, state and vector account for
LOOPBACK = ["--listen", "/ip4/127.0.0.1/tcp/0", "--log-format", "json"]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bloomswarm-benchmark-") as folder:
        if options.only != "download":
            result |= _join(Path(folder) / "swarm", options)
        if options.only != "join":
            result |= _download(Path(folder) / "state", options)
    for name, value in result.items():
        print(f"{name:24}{value:>12}   {GOALS.get(name, '')}")
    print(json.dumps(result))
    return result


# --- a newcomer ------------------------------------------------------------------------------------------------------


def _join(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(CONFIG)
    create = ["create", str(folder / "run.toml"), "--dir", str(folder / "run")]
    run_to_end("create", create, folder / "create.log", lambda: False)
    started = [Followed("seed", ["seed", str(folder / "run"), *LOOPBACK], folder / "seed.log")]
    try:
        link = str(started[0].wait_for("seeding", 120, lambda: False)["link"])
        seconds = _recorded(folder / "run")
        peers = [_peer(folder, link, number, seconds, options.peers) for number in range(options.peers)]
        started += peers
        _until(lambda: all(len(peer.steps) >= options.rounds for peer in peers), 400, peers)
        began = time.time()
        joiner = _peer(folder, link, options.peers, seconds, 1)
        started.append(joiner)
        _until(lambda: "joined" in joiner.latest, 60, [joiner])
        process = psutil.Process(joiner.process.pid)
        before = peak(process.pid)
        _until(lambda: any(event.get("included") for event in joiner.steps), 240, [joiner])
        first = next(event for event in joiner.steps if event.get("included"))
        _tell(folder / f"peer-{options.peers}", began)
        times = [event["time"] for event in peers[0].steps[-options.rounds :] if event["time"] < began]
        vectors = 4 + 4 * 3 + 4  # the model's parameters, the state's with both moments, a contribution: bytes a value
        return {
            "join_seconds": round(first["time"] - began, 2),
            "round_seconds": round(median(b - a for a, b in itertools.pairwise(times)), 2),
            "extra_memory_mb": round((peak(process.pid) - before - vectors * VALUES) / 1e6),
            "of_it_gradient_sum_mb": round(4 * VALUES / 1e6),
            "step_joined_at": first["step"],
            "sample_seconds": round(median(map(float, seconds.split(","))), 3),
        }
    finally:
        end_all([one.process for one in started], 10)


def _tell(folder: Path, began: float) -> None:
    """What the newcomer said, and when."""
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        print(f"{event['time'] - began:8.1f} s  {event['words'][:120]}")


def _recorded(run: Path) -> str:
    """Seconds of single samples on one core of this machine, comma-separated."""
    command = [sys.executable, "-m", "benchmarks.paced", "record", str(run)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _peer(folder: Path, link: str, number: int, seconds: str, wait_for: int) -> Followed:
    arguments = [seconds, "join", link, "--yes", "--dir", str(folder / f"peer-{number}"), "--threads", "1"]
    arguments += ["--cache", str(folder / "cache"), "--wait-for", str(wait_for), *LOOPBACK]
    return Followed(f"peer-{number}", arguments, folder / f"peer-{number}.log", "benchmarks.paced")


def _until(condition: Any, seconds: float, peers: list[Followed]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        for peer in peers:
            assert not peer.ended, f"{peer.name} ended: {peer.last_words()}"
        assert time.monotonic() < deadline, f"not within {seconds} s: {[peer.state for peer in peers]}"
        time.sleep(0.05)


# --- the state alone -------------------------------------------------------------------------------------------------


def _download(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    root, size = keep_state(folder, run_of(options.layers))
    with Fleet("donors", 2, folder=str(folder), layers=options.layers, root=root, threads=1) as fleet:
        taker, donor = (answer["peer"] for answer in fleet.ask("name"))
        pairs = [_pair(fleet, taker, donor, size) for _ in range(options.repeats + 1)]
    transport, taken = median(each[0] for each in pairs[1:]), median(each[1]["seconds"] for each in pairs[1:])
    capped = _capped(folder, options)
    return {
        "state_mb": round(size / 1e6, 1),
        "transport_mb_per_second": round(size / transport / 1e6, 1),
        "download_mb_per_second": round(size / taken / 1e6, 1),
        "download_fraction": round(transport / taken, 3),
        "download_core_fraction": round(
            median(each[2] for each in pairs[1:]) / median(each[3] for each in pairs[1:]), 3
        ),
        "download_core_seconds": round(median(each[3] for each in pairs[1:]), 2),
        "download_memory_mb": round(max(each[1]["memory"] for each in pairs) / 1e6, 1),
        **capped,
    }


def _pair(fleet: Fleet, taker: str, donor: str, size: int) -> tuple[float, dict[str, Any], float, float]:
    """The bytes alone, and the state: seconds, what `take` says, and the core-seconds of each."""
    before = fleet.core_seconds()
    pushed = fleet.timed("push", taker=taker, each_bytes=size, donors=1)
    between = fleet.core_seconds()
    taken = fleet.timed("take", donors=[donor])[0]
    after = fleet.core_seconds()
    fleet.ask("check")
    return max(each["ended"] for each in pushed) - pushed[0]["began"], taken, between - before, after - between


def _capped(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One donor against three, each with its upload capped."""
    small = folder / "small"
    root, size = keep_state(small, run_of(options.capped_layers))
    settings = {"folder": str(small), "layers": options.capped_layers, "root": root, "upload_mbit": options.cap}
    with Fleet("donors", 4, threads=1, **settings) as fleet:
        donors = [answer["peer"] for answer in fleet.ask("name")][1:]
        one = fleet.timed("take", donors=donors[:1])[0]["seconds"]
        three = fleet.timed("take", donors=donors)[0]["seconds"]
    return {
        "one_donor_mbit": round(8e-6 * size / one, 1),
        "three_donors_mbit": round(8e-6 * size / three, 1),
        "three_donors_ratio": round(one / three, 3),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joining", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=18, help="before the newcomer comes")
    parser.add_argument("--layers", type=int, default=9, help="of the model whose state is downloaded")
    parser.add_argument("--capped-layers", type=int, default=2, help="of that of the capped donors")
    parser.add_argument("--cap", type=float, default=80.0, help="Mbit/s, upload of each capped donor")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["join", "download"])
    return parser


if __name__ == "__main__":
    main()
