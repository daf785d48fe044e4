"""`python -m benchmarks.peers`: is a model that 1, 4 or 8 peers have trained as good as one machine's?

The same run, plan and tokens each time: a step reads the same 32 samples, whether one peer reads all of them, four
read 8 each, or eight read 4. Everything is as in `benchmarks.convergence`: one checkpoint after a warm phase of
big-batch steps, real gradients, optimizers, codec and reducer, a simulated network.

gap = 100 x (held-out loss - that of the baseline) / baseline; gain = 100 x (loss at the checkpoint - loss) / loss
there, by language. Means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from benchmarks.convergence import CONFIG, LOCAL20, lengths, trainings
from benchmarks.text import text_folder
from benchmarks.trainings import BATCH, Result, Variant, one_machine, swarm_result

PEERS = (1, 4, 8)
MODES = {"gradient": Variant("gradient"), "local20": LOCAL20}
VARIANTS = tuple(
    replace(variant, name=f"{mode}_{peers}", peers=peers, share=BATCH // peers)
    for mode, variant in MODES.items()
    for peers in PEERS
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train every variant for every seed, print two tables, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    data, begin = text_folder(options.data), time.perf_counter()
    with trainings(options, data) as (pool, each):
        results = {"baseline": list(pool.map(one_machine, each))}
        found = {variant.name: [pool.submit(swarm_result, one, variant) for one in each] for variant in VARIANTS}
        results |= {name: [one.result() for one in ones] for name, ones in found.items()}
    report = report_of(results) | {
        "tokens": options.steps * BATCH * CONFIG["model"]["sequence_length"],
        "text": "starter corpus" if data is None else data.name,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    print(json.dumps(report))
    return report


def report_of(results: dict[str, list[Result]]) -> dict[str, Any]:
    """Print the tables of these trainings, by variant and seed; their figures by name."""
    gains = {name: gains_of(ones, results["baseline"]) for name, ones in results.items()}
    report: dict[str, Any] = {}
    print(f"{'variant':12}{'loss':>10}{'gap %':>10}{'improved':>12}{'least gain %':>18}{'seconds':>10}")
    for name, ones in results.items():
        loss, gap = fmean(one.loss for one in ones), gap_of(ones, results["baseline"])
        least = min(gains[name], key=gains[name].__getitem__)
        improved = sum(gain > 0 for gain in gains[name].values())
        row = f"{name:12}{loss:10.4f}{gap:10.3f}{f'{improved} of {len(gains[name])}':>12}"
        print(f"{row}{f'{gains[name][least]:.2f} ({least})':>18}{fmean(one.seconds for one in ones):10.0f}")
        report |= {f"{name}_loss": round(loss, 4), f"{name}_gap_percent": round(gap, 3)}
        report |= {f"{name}_improved": improved, f"{name}_least_gain_percent": round(gains[name][least], 2)}
    print("\n" + f"{'gain %':10}" + "".join(f"{name:>12}" for name in results))
    for code in gains["baseline"]:
        print(f"{code:10}" + "".join(f"{found[code]:12.2f}" for found in gains.values()))
    return report | {"languages": len(gains["baseline"])}


def gap_of(ones: list[Result], bases: list[Result]) -> float:
    """Percent, mean over the seeds."""
    return fmean(100 * (one.loss - base.loss) / base.loss for one, base in zip(ones, bases, strict=True))


def gains_of(ones: list[Result], bases: list[Result]) -> dict[str, float]:
    """By how much each language's loss fell since the checkpoint, in percent, mean over the seeds."""
    pairs = list(zip(ones, bases, strict=True))
    return {
        code: fmean(100 * (base.before[code] - one.losses[code]) / base.before[code] for one, base in pairs)
        for code in bases[0].before
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split("\n")[0])
    lengths(parser, seeds=1)
    return parser


if __name__ == "__main__":
    main()
