"""Run seeded fault schedules over the real protocol core and check every invariant: `--help` shows how.

The last line printed is one JSON object; the exit code is 1 if anything was violated. A seed replays exactly.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from swarm.averaging.simulation.faults import FAULTS
from swarm.averaging.simulation.schedule import Result, run

EXAMPLES = """examples:
  python -m swarm.averaging.simulate --schedules 1000 --peers 7 --seed 1
  python -m swarm.averaging.simulate --schedules 10000 --peers 3-12
  python -m swarm.averaging.simulate --peers 3-12 --replay 4711 -v       one schedule, with everything that happened
  python -m swarm.averaging.simulate --schedules 100 --faults partition,crash_host
"""


def group(text: str) -> tuple[int, int]:
    """ "7" or "3-12"."""
    low, _, high = text.partition("-")
    try:
        sizes = int(low), int(high or low)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of peers nor a range like 3-12") from None
    if not 2 <= sizes[0] <= sizes[1] <= 64:
        raise argparse.ArgumentTypeError(f"{text!r}: between 2 and 64 peers, the smaller number first")
    return sizes


def kinds(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    unknown = [kind for kind in chosen if kind not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no fault is called {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    return chosen


def arguments(args: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m swarm.averaging.simulate",
        description="Seeded fault schedules over the real protocol core, every invariant checked.",
        epilog=EXAMPLES + "\nfaults: " + ", ".join(FAULTS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--schedules", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--peers", type=group, default=(7, 7), help="a number, or a range to draw from (default 7)")
    parser.add_argument("--seed", type=int, default=0, help="the first schedule's seed; the others count up from it")
    parser.add_argument("--faults", type=kinds, default=tuple(FAULTS), help="draw only from these, comma-separated")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run the schedule of this seed alone")
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count(), help="default: one a core")
    parser.add_argument("-v", "--verbose", action="store_true", help="print all that happens (with --replay)")
    return parser.parse_args(args)


def summary(results: list[Result]) -> dict[str, object]:
    faults: Counter[str] = Counter()
    for result in results:
        faults += result.faults
    return {
        "schedules": len(results),
        "violations": sum(bool(result.violations) for result in results),
        "committed_rounds": sum(result.committed_rounds for result in results),
        "voided_spans": sum(result.voided_spans for result in results),
        "forks": sum(result.forks for result in results),
        "liveness_checked": sum(result.measured for result in results),
        "faults": dict(sorted(faults.items())),
    }


def report(result: Result, peers: tuple[int, int], chosen: tuple[str, ...]) -> None:
    again = f"--peers {peers[0]}-{peers[1]} --replay {result.seed} -v"
    if chosen != tuple(FAULTS):
        again += f" --faults {','.join(chosen)}"
    for violation in result.violations:
        print(f"seed {result.seed}: {violation}")
    print(f"  again: python -m swarm.averaging.simulate {again}", flush=True)


def undisturbed() -> None:
    """In each process: collecting garbage in the middle of a schedule, again and again, takes a fifth of its time."""
    gc.freeze()
    gc.disable()


def clean(one: Callable[[int], Result], seed: int) -> Result:
    result = one(seed)
    gc.collect()
    return result


def main(args: list[str] | None = None) -> int:
    options = arguments(args)
    one = partial(run, peers=options.peers, kinds=options.faults)
    results: list[Result] = []
    started = shown = time.monotonic()
    if options.replay is not None:
        results.append(one(options.replay, verbose=options.verbose))
    else:
        seeds = range(options.seed, options.seed + options.schedules)
        # a fresh interpreter each: nothing that a schedule leaves behind reaches another process
        with multiprocessing.get_context("spawn").Pool(min(options.processes, len(seeds)), undisturbed) as pool:
            for result in pool.imap_unordered(partial(clean, one), seeds, chunksize=8):
                results.append(result)
                if result.violations:
                    report(result, options.peers, options.faults)
                if time.monotonic() - shown > 10:
                    shown = time.monotonic()
                    print(f"{len(results)} of {len(seeds)} schedules, {shown - started:.0f} s", flush=True)
    if options.replay is not None and results[0].violations:
        report(results[0], options.peers, options.faults)
    total = summary(results)
    print(json.dumps(total))
    return 1 if total["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
