"""`python -m benchmarks.rounds --peers 8 --rounds 200 --values 1000`: what a small round costs.

One process for each peer, real daemons on loopback; in every round the peers arrive at random within `--spread`
seconds. The overhead is the time from the last peer's being ready to the last one's holding the certified mean.
hivemind, told no group size as its optimizer tells it none, keeps a window open to find a group: its figure is from
the last arrival to the end of its round, in the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

from benchmarks.fleet import Fleet

GOAL_SECONDS = 0.25


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bloomswarm-benchmark-") as folder:
        rows = _ours(options, folder)
    theirs = _theirs(options)
    overheads = [row["overhead"] for row in rows]
    ninth = quantiles(overheads, n=10)[-1] if len(overheads) > 1 else overheads[0]
    window = median(row["overhead"] for row in theirs) if theirs else 0.0
    print(f"{'':12}{'rounds':>8}{'full':>8}{'median':>10}{'90 %':>10}{'worst':>10}   seconds")
    full = sum(row["full"] for row in rows)
    print(f"{'ours':12}{len(rows):8}{full:8}{median(overheads):10.3f}{ninth:10.3f}{max(overheads):10.3f}")
    their_full, worst = sum(row["full"] for row in theirs), max((row["overhead"] for row in theirs), default=0.0)
    print(f"{'hivemind':12}{len(theirs):8}{their_full:8}{window:10.3f}{'':10}{worst:10.3f}")
    print(f"goals: every round full and identical, median overhead under {GOAL_SECONDS} s")
    result = {
        "peers": options.peers,
        "values": options.values,
        "full_rounds": full,
        "rounds": len(rows),
        "identical": all(row["identical"] for row in rows),
        "median_overhead_seconds": round(median(overheads), 4),
        "worst_overhead_seconds": round(max(overheads), 4),
        "baseline_median_seconds": round(window, 4),
        "baseline_rounds": len(theirs),
        "baseline_full_rounds": their_full,
    }
    print(json.dumps(result))
    return result


def _ours(options: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    count, chance = options.peers, random.Random(options.seed)
    with Fleet("ours", count, values=options.values, folder=folder, threads=1) as fleet:
        fleet.ask("meet", peers=[answer["peer"] for answer in fleet.ask("name")])
        rows = []
        for _ in range(options.rounds):
            answers = fleet.timed("round", check=True, delays=_delays(options, chance))
            rows.append(
                {
                    "overhead": max(a["applied_at"] for a in answers) - max(a["ready_at"] for a in answers),
                    "full": all(a["members"] == count and a["void"] == 0 for a in answers),
                    "identical": len({a["digest"] for a in answers}) == 1,
                }
            )
    return rows


def _theirs(options: argparse.Namespace) -> list[dict[str, Any]]:
    if options.baseline_rounds == 0:
        return []
    count, chance = options.peers, random.Random(options.seed)
    with Fleet("hivemind", count, values=options.values, window=options.window, known=False, threads=1) as fleet:
        rows = []
        for _ in range(options.baseline_rounds + 1):
            answers = fleet.timed("round", delays=_delays(options, chance))
            overhead = max(a["ended"] for a in answers) - max(a["copy_seconds"] for a in answers)
            rows.append({"overhead": overhead, "full": all(a["members"] == count for a in answers)})
    return rows[1:]  # the first one loads its codec


def _delays(options: argparse.Namespace, chance: random.Random) -> list[float]:
    return [chance.uniform(0.0, options.spread) for _ in range(options.peers)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--values", type=int, default=1000)
    parser.add_argument("--spread", type=float, default=0.2, help="seconds within which the peers arrive")
    parser.add_argument("--baseline-rounds", type=int, default=10, help="of hivemind; 0: without it")
    parser.add_argument("--window", type=float, default=3.0, help="hivemind's matchmaking window in seconds")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
