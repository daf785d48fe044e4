"""`python -m benchmarks.averaging --peers 4 --values 25000000`: a whole averaging round, ours against hivemind's.

One process for each peer, real daemons on loopback, rounds in turn, after warm ones. Ours is timed from having
something to give to holding the mean, with call, roster and commit. hivemind's is timed with its matchmaking and
without it (its all-reduce alone); `round_ratio` is the smaller of both over ours. Floors are the times that the same
bytes take between the same processes with nothing else to do, measured between the rounds: through hivemind's daemons
(`floor_ratio`), and on the connections that peers of one network make beside them (`direct_floor_ratio`).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.fleet import Fleet
from benchmarks.least import arithmetic_seconds

GOALS = {"round_ratio": 4.0, "floor_ratio": 1.8, "extra_memory_ratio": 1.5}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bloomswarm-benchmark-") as folder:
        result = _measure(options, folder)
    goals = ", ".join(f"{name} {value}" for name, value in GOALS.items())
    print(f"goals at 4 peers and 25,000,000 values: {goals} (at least for round_ratio, else at most)")
    print(json.dumps(result))
    return result


def _measure(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    count, values = options.peers, options.values
    own = max(1, (os.cpu_count() or 1) // count)  # as the demo shares a machine
    threads, baseline_threads = (own if n is None else n for n in (options.threads, options.baseline_threads))
    with Fleet("ours", count, values=values, folder=folder, threads=threads, direct=options.direct) as ours:
        peers = [answer["peer"] for answer in ours.ask("name")]
        ours.ask("meet", peers=peers)
        idle = ours.ask("memory", reset=True)
        rows = [_ours(ours) for _ in range(options.warm)]
        each_bytes = rows[-1]["sent"] // (count * max(1, count - 1))
        floors = {"peers": peers, "each_bytes": each_bytes}
        if options.alone:
            rows = [_ours(ours) | _floors(ours, **floors) for _ in range(options.rounds)]
            theirs: list[dict[str, float]] = []
        else:
            extra = {"window": options.window, "threads": baseline_threads}
            with Fleet("hivemind", count, values=values, **extra) as baseline:
                for _ in range(options.warm):
                    _theirs(baseline)
                pairs = [(_ours(ours) | _floors(ours, **floors), _theirs(baseline)) for _ in range(options.rounds)]
                rows, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
                theirs[-1] |= _checked(baseline.timed("round", check=True))
        busy = ours.ask("memory", reset=False)
        checked = _checked(ours.timed("round", check=True))
    result = _result(options, rows, theirs, checked, _growth(idle, busy, values))
    return result | _bound(options, result)


def _ours(fleet: Fleet) -> dict[str, float]:
    answers = fleet.timed("round")
    assert all(a["members"] == fleet.count and a["void"] == 0 for a in answers), answers
    ready, applied = max(a["ready_at"] for a in answers), max(a["applied_at"] for a in answers)
    began = answers[0]["began"]
    return {
        "seconds": max(a["ended"] for a in answers) - began,
        "called": ready - began,
        "exchanged": applied - ready,
        "sent": sum(a["sent"] for a in answers),
        **_spent(answers),
    }


def _theirs(fleet: Fleet) -> dict[str, float]:
    answers = fleet.timed("round")
    assert all(a["members"] == fleet.count for a in answers), f"hivemind formed smaller groups: {answers}"
    ended = max(a["ended"] for a in answers)
    return {
        "seconds": ended - min(a["copy_seconds"] for a in answers),
        "reduced": ended - min(a["running"] for a in answers),
        **_spent(answers),
    }


def _spent(answers: list[dict[str, Any]]) -> dict[str, float]:
    """CPU seconds of all peers, and of their daemons."""
    return {"cpu": sum(a["cpu"][0] for a in answers), "daemon_cpu": sum(a["cpu"][1] for a in answers)}


def _floors(fleet: Fleet, **what: Any) -> dict[str, float]:
    """The bytes alone, through the daemons and beside them."""
    result = {}
    for name, direct in (("floor", False), ("direct_floor", True)):
        answers = fleet.timed("floor", direct=direct, **what) if fleet.count > 1 else []
        result[name] = max(a["ended"] for a in answers) - answers[0]["began"] if answers else 0.0
        result[f"{name}_cpu"] = _spent(answers)["cpu"]
    return result


def _checked(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether all hold the same bytes, and how far the mean is from the true one."""
    return {"identical": len({a["digest"] for a in answers}) == 1, "error": max(a["error"] for a in answers)}


def _growth(idle: list[dict], busy: list[dict], values: int) -> dict[str, float]:
    """Peak memory over idle in units of the vector's float32 size, the worst peer's."""
    pairs = list(zip(idle, busy, strict=True))
    return {
        "extra_memory_ratio": max(b["process"] - i["process"] for i, b in pairs) / (4 * values),
        "daemon_memory_ratio": max(b["daemon"] - i["daemon"] for i, b in pairs) / (4 * values),
    }


def _result(
    options: argparse.Namespace,
    rows: list[dict[str, float]],
    theirs: list[dict[str, float]],
    checked: dict[str, Any],
    growth: dict[str, float],
) -> dict[str, Any]:
    seconds, floor, direct = (median(row[name] for row in rows) for name in ("seconds", "floor", "direct_floor"))
    heads = ("ours", "to ready", "exchange", "floor", "direct")
    print(f"{''.join(f'{head:>10}' for head in heads)}{'hivemind':>12}{'all-reduce':>12}   seconds")
    for index, row in enumerate(rows):
        other = theirs[index] if theirs else {"seconds": 0.0, "reduced": 0.0}
        cells = "".join(f"{row[name]:10.3f}" for name in ("seconds", "called", "exchanged", "floor", "direct_floor"))
        print(f"{cells}{other['seconds']:12.3f}{other['reduced']:12.3f}")
    with_all, alone = (median(row[name] for row in theirs) if theirs else 0.0 for name in ("seconds", "reduced"))
    sent = median(row["sent"] for row in rows)
    result = {
        "peers": options.peers,
        "values": options.values,
        "round_ratio": round(min(with_all, alone) / seconds, 3),
        "floor_ratio": round(seconds / floor, 3) if floor else None,
        "direct": options.direct,
        "direct_floor_ratio": round(seconds / direct, 3) if direct else None,
        **{name: round(value, 3) for name, value in growth.items()},
        "identical": checked["identical"],
        "seconds": round(seconds, 4),
        "baseline_seconds": round(with_all, 4),
        "baseline_reduce_seconds": round(alone, 4),
        "floor_seconds": round(floor, 4),
        "direct_floor_seconds": round(direct, 4),
        "throughput_megabytes_per_second": round(sent / floor / 1e6, 1) if floor else None,
        "cpu_seconds": round(median(row["cpu"] for row in rows), 3),
        "daemon_cpu_seconds": round(median(row["daemon_cpu"] for row in rows), 3),
        "floor_cpu_seconds": round(median(row["floor_cpu"] for row in rows), 3),
        "direct_floor_cpu_seconds": round(median(row["direct_floor_cpu"] for row in rows), 3),
        "baseline_cpu_seconds": round(median(row["cpu"] for row in theirs), 3) if theirs else None,
        "bytes_per_value_sent": round(sent / options.peers / options.values, 4),
        "relative_error": round(checked["error"], 5),
        "baseline_relative_error": round(theirs[-1]["error"], 5) if theirs else None,
        "baseline_identical": theirs[-1]["identical"] if theirs else None,
    }
    print(f"sent {result['bytes_per_value_sent']} bytes a value and peer; relative error {result['relative_error']}")
    return result


def _bound(options: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """Bytes alone and the least arithmetic, spread over all cores: both measured apart, so no hard bound."""
    cores, least = os.cpu_count() or 1, arithmetic_seconds(options.values, options.peers)
    used = min(cores, 2 * options.peers)
    way = "direct_floor" if options.direct else "floor"
    bound = max(result[f"{way}_seconds"], (result[f"{way}_cpu_seconds"] + options.peers * least) / used)
    best = min(result["baseline_seconds"], result["baseline_reduce_seconds"]) / bound
    print(f"bytes alone and arithmetic alone take {bound:.3f} s on {cores} cores: a ratio of {best:.2f}")
    return {
        "arithmetic_cpu_seconds": round(options.peers * least, 3),
        "bound_seconds": round(bound, 4),
        "bound_ratio": round(best, 3),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.averaging", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--values", type=int, default=25_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each, in turn")
    parser.add_argument("--warm", type=int, default=2, help="rounds of each before them")
    parser.add_argument("--threads", type=int, help="of each of our peers  [default: its share of the cores]")
    parser.add_argument(
        "--baseline-threads", type=int, help="of each of hivemind's; 0: its own choice  [default: same]"
    )
    parser.add_argument("--window", type=float, default=3.0, help="hivemind's matchmaking window in seconds")
    parser.add_argument(
        "--no-direct", dest="direct", action="store_false", help="all bytes through hivemind's daemons, as far apart"
    )
    parser.add_argument("--alone", action="store_true", help="without the baseline")
    return parser


if __name__ == "__main__":
    main()
