"""`python -m benchmarks.wan --peers 4 --mbit 20 --rtt 100`: how much of its time a peer computes, on home links.

Each peer is a process in a network namespace of its own, with its daemon, the product's rounds, mode "local" with
overlap, and the trainer's loop; a userspace link carries their packets (`benchmarks.home_links`). 33.6M values (the
model of configs/small-local.toml). Inner steps are replayed: each takes its seconds and costs nothing, since this
machine could not compute for all peers; what averaging itself costs in CPU is told beside it.

The baseline is hivemind's averager on the same kind of link, with its 8-bit codec, as OpenDiLoCo uses it: the round
follows the inner phase, and nothing is computed meanwhile. Since nothing overlaps, its inner phase is not waited for.

compute_fraction = seconds of inner steps / seconds in all, of the slowest peer, over the measured rounds;
exchange_fraction = median seconds of an exchange / seconds of an inner phase. Below 0.5 it would be void: a round that
is short against the inner phase is easy to hide.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.fleet import Fleet
from benchmarks.home_links import HomeLinks, why_not
from benchmarks.homes import WARM_ROUNDS

GOAL, LEAST_EXCHANGE = 0.95, 0.5


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    if (reason := why_not()) is not None:
        print(f"SKIPPED: home links cannot be made on this machine: {reason}; nothing was measured")
        report: dict[str, Any] = {"skipped": reason}
        print(json.dumps(report))
        return report
    report = {"peers": options.peers, "mbit": options.mbit, "rtt_ms": options.rtt, "phase_seconds": options.phase}
    report |= _ours(options)
    print(f"bloomswarm: {json.dumps(report)}", flush=True)
    if options.baseline_rounds:
        seconds = _baseline(options)
        report["baseline_exchange_seconds"] = round(seconds, 1)
        report["baseline_compute_fraction"] = round(options.phase / (options.phase + seconds), 4)
    report["void"] = report["exchange_fraction"] < LEAST_EXCHANGE
    report["within_goal"] = report["compute_fraction"] >= GOAL and not report["void"]
    _table(report)
    print(json.dumps(report))
    return report


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    rounds = WARM_ROUNDS + options.rounds
    with _links(options) as links:
        with Fleet(
            "ours at home", options.peers, links=links, phase=options.phase, mbit=options.mbit, threads=1
        ) as fleet:
            peers = [answer["peer"] for answer in fleet.ask("name")]
            answers = fleet.ask("train", peers=peers, rounds=rounds)
        carried, dropped = links.carried_bytes, links.dropped
    steps = [step for answer in answers for step in answer["steps"][WARM_ROUNDS:]]
    fractions = [answer["computed"] / answer["seconds"] for answer in answers]
    exchange = median(step["exchange"] for step in steps)
    return {
        "compute_fraction": round(min(fractions), 4),
        "exchange_fraction": round(exchange / options.phase, 4),
        "exchange_seconds": round(exchange, 2),
        "apply_seconds": round(median(step["apply"] for step in steps), 3),
        "cpu_seconds_a_round": round(max(answer["cpu_seconds"] for answer in answers) / options.rounds, 2),
        "sent_bytes_a_round": round(median(step["sent"] for step in steps)),
        "missed_rounds": sum(answer["missed"] for answer in answers),
        "members": min(step["members"] for step in steps),
        "void_spans": sum(step["void"] for step in steps),
        "link_bytes": carried,
        "link_drops": dropped,
        "replicas_agree": len({answer["digest"] for answer in answers}) == 1,
    }


def _baseline(options: argparse.Namespace) -> float:
    """Median seconds of a round of hivemind's with all peers in it, the first one not counted."""
    with _links(options) as links, Fleet("hivemind at home", options.peers, links=links, threads=1) as fleet:
        found = [fleet.ask("patient_round") for _ in range(WARM_ROUNDS + options.baseline_rounds)]
    full = [answers for answers in found[WARM_ROUNDS:] if all(one["members"] == options.peers for one in answers)]
    print(f"hivemind: {len(full)} of {options.baseline_rounds} rounds with all peers")
    assert full, "no round of hivemind's was complete"
    return median(max(one["seconds"] for one in answers) for answers in full)


def _links(options: argparse.Namespace) -> HomeLinks:
    return HomeLinks(options.mbit, options.rtt / 1000)


def _table(report: dict[str, Any]) -> None:
    line = f"{report['peers']} peers at {report['mbit']:g} Mbit/s, {report['rtt_ms']:g} ms"
    print(f"{line}; inner phases of {report['phase_seconds']:g} s\n{'':30}{'bloomswarm':>12}{'hivemind':>12}")
    for title, ours, theirs in (
        ("exchange, seconds", "exchange_seconds", "baseline_exchange_seconds"),
        ("fraction of time computing", "compute_fraction", "baseline_compute_fraction"),
    ):
        print(f"{title:30}{report[ours]:>12}{report.get(theirs, '-'):>12}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wan", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--mbit", type=float, default=20.0, help="of each peer's line, up and down (default 20)")
    parser.add_argument("--rtt", type=float, default=100.0, help="milliseconds between any two peers (default 100)")
    parser.add_argument("--phase", type=float, default=40.0, help="seconds of an inner phase (default 40)")
    parser.add_argument("--rounds", type=int, default=3, help="measured, after a warm one (default 3)")
    parser.add_argument("--baseline-rounds", type=int, default=2, help="of hivemind; 0: without it (default 2)")
    return parser


if __name__ == "__main__":
    main()
