"""`python -m benchmarks.step`: what being a peer costs, against a plain PyTorch loop on the same model.

A real peer that is alone, with its daemon, its plan, its 8-bit round, its shared update and its trainer's loop; the
loop beside it does forward, backward, clipping and torch's fused AdamW, on samples that lie in memory. Same model,
precision, threads, micro-batch and samples in a step. They take turns, 7 pairs; the ratio is
the median of the pairs'. "computing" is the ratio without the round and its application, whose seconds stand beside
it: what is between 1 and it is lost in every micro-batch, the rest once a step, however long that is. "processor" is
the ratio of tokens a second of processor time, the daemon's included: on a busy machine it wavers less.

Memory is in bytes a parameter, of a model with many layers of one size and short samples, so that activations hardly
count: what the process grows by from before the model is built to its peak; of that, the optimizer's vectors, counted
(in mode "local" the inner moments and the shared momentum); and averaging: the residuals, and what a round of a lone
peer takes for a while. With others, a peer also holds the parts of its spans: see `benchmarks.averaging`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

from benchmarks.fleet import cpu_seconds
from benchmarks.lone_peer import LonePeer, made
from benchmarks.plain_loop import PlainLoop
from benchmarks.resident import peak_bytes, reset_peak
from swarm.run.sizing import parameters

GOAL = 0.97
PAIRS = 7
MICRO_BATCH = 8
MODEL = {"vocab_size": 4096, "hidden_size": 128, "layers": 4, "heads": 4, "sequence_length": 128}
STEP_SAMPLES = {"gradient": 192, "local": 400}  # in mode "local": 50 inner steps
LARGE = {"vocab_size": 4096, "hidden_size": 512, "layers": 8, "heads": 8, "sequence_length": 8}
LARGE_BATCH = 4
OPTIONS = {  # of memory: mode, inner optimizer
    "plain loop, AdamW": None,
    "gradient": ("gradient", "adamw"),
    "local, adamw": ("local", "adamw"),
    "local, adamw-8bit": ("local", "adamw-8bit"),
}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the tables, and return the JSON object of the last line."""
    options = _parser().parse_args(argv)
    report: dict[str, Any] = {"pairs": options.pairs}
    columns = f"{'peer tokens/s':>15}{'plain tokens/s':>16}{'ratio':>8}{'computing':>11}{'processor':>11}{'round s':>9}"
    print(f"{'mode':10}{columns}")
    for mode in ("gradient", "local"):
        row = _elsewhere(speed, mode, options.pairs, options.samples or STEP_SAMPLES[mode])
        report[mode] = row
        ratios = f"{row['ratio']:8.3f}{row['computing_ratio']:11.3f}{row['processor_ratio']:11.3f}"
        rates = f"{row['peer']:15.0f}{row['plain']:16.0f}"
        print(f"{mode:10}{rates}{ratios}{row['round_seconds']:9.3f}", flush=True)
    report["throughput_ratio"] = min(report["gradient"]["ratio"], report["local"]["ratio"])
    print(f"\n{'bytes a parameter':20}{'in all':>8}{'optimizer':>11}{'averaging':>11}")
    report["bytes_per_parameter"] = {}
    for name, option in OPTIONS.items():
        report["bytes_per_parameter"][name] = row = _elsewhere(memory, option)
        print(f"{name:20}{row['all']:8.1f}{row['optimizer']:11.1f}{row['averaging']:11.1f}")
    report["within_goal"] = report["throughput_ratio"] >= GOAL
    print(json.dumps(report))
    return report


def _elsewhere(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `work` in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def speed(mode: str, pairs: int, batch: int) -> dict[str, float]:
    """Tokens a second of both, medians, and the median of the ratios of each pair; and what a step costs beside."""
    with made(MODEL, mode, batch, MICRO_BATCH) as text, LonePeer(text, MICRO_BATCH) as peer:
        plain = PlainLoop(text, batch if mode == "gradient" else MICRO_BATCH, MICRO_BATCH, batch)
        for work in (peer, plain):
            work.turn(batch)
        rates, computing, processor, beside = [], [], [], []
        for pair in range(pairs):
            order = (peer, plain) if pair % 2 else (plain, peer)
            measured = {work: token_rates(work, batch) for work in order}
            rates.append((measured[peer][0], measured[plain][0]))
            processor.append(measured[peer][1] / measured[plain][1])
            tokens = peer.last.samples * MODEL["sequence_length"]
            computing.append(tokens / peer.last.compute_seconds / measured[plain][0])
            beside.append(peer.last.average_seconds + peer.last.apply_seconds)
    ratios = [one / other for one, other in rates]
    return {
        "peer": round(statistics.median(one for one, _ in rates), 1),
        "plain": round(statistics.median(other for _, other in rates), 1),
        "ratio": round(statistics.median(ratios), 4),
        "lowest_ratio": round(min(ratios), 4),
        "highest_ratio": round(max(ratios), 4),
        "computing_ratio": round(statistics.median(computing), 4),
        "processor_ratio": round(statistics.median(processor), 4),
        "round_seconds": round(statistics.median(beside), 4),
    }


def token_rates(work: LonePeer | PlainLoop, batch: int) -> tuple[float, float]:
    """Tokens a second, and tokens a second of processor time: of this process and of the peer's daemon."""
    begin, (spent_before, _) = time.perf_counter(), cpu_seconds()
    tokens = work.turn(batch) * MODEL["sequence_length"]
    seconds, (spent, _) = time.perf_counter() - begin, cpu_seconds()
    return tokens / seconds, tokens / (spent - spent_before)


def memory(option: tuple[str, str] | None) -> dict[str, float]:
    """Bytes a parameter that training grows this process by, at its peak, and parts of it. Linux tells it."""
    mode, optimizer = option or ("gradient", "adamw")
    with made(LARGE, mode, LARGE_BATCH, 1, overlap=False) as text, ExitStack() as stack:
        reset_peak()
        before = peak_bytes()
        if option is None:
            work: LonePeer | PlainLoop = PlainLoop(text, LARGE_BATCH, 1, LARGE_BATCH)
        else:
            work = peer = stack.enter_context(LonePeer(text, 1, optimizer))
            peer.rounds.weighing = True
        sizes = {"all": 0}
        for _ in range(3):
            reset_peak()
            work.turn(LARGE_BATCH)
            sizes["all"] = max(sizes["all"], peak_bytes() - before, work.peak_before_round() - before)
        sizes |= {"optimizer": work.optimizer_bytes(), "averaging": work.averaging_bytes()}
        count = parameters(text.manifest.model)
        return {name: round(size / count, 1) for name, size in sizes.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--samples", type=int, help="of 128 tokens between two rounds (default 192; mode local 400)")
    return parser


if __name__ == "__main__":
    main()
