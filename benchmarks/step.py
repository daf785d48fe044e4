"""`python -m benchmarks.step`: what being a peer costs, against a plain PyTorch loop on the same model.

A real peer that is alone, with its daemon, its plan, its 8-bit round, its shared update and its trainer's loop; the
loop beside it does forward, backward, clipping and torch's fused AdamW, on samples that lie in memory. Same model,
precision, threads, micro-batch and samples in a step. They take turns, 7 pairs; the ratio is
the median of the pairs'.

Memory is in bytes a parameter, of a model with many layers of one size and short samples, so that activations hardly
count: what the process grows by from before the model is built to its peak; of that, the optimizer's vectors, counted
(in mode "local" the inner moments and the shared momentum); and averaging: the residuals, and what a round of a lone
peer takes for a while. With others, a peer also holds the parts of its spans: see `benchmarks.averaging`.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.text import Text, create
from swarm.sizing import parameters

if TYPE_CHECKING:
    from peers.training.trainer import StepReport
    from swarm.averaging.averager import Contribution, Outcome

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
    print(f"{'mode':10}{'peer tokens/s':>15}{'plain tokens/s':>16}{'ratio':>8}{'round s':>9}")
    for mode in ("gradient", "local"):
        row = _elsewhere(speed, mode, options.pairs, options.samples or STEP_SAMPLES[mode])
        report[mode] = row
        print(f"{mode:10}{row['peer']:15.0f}{row['plain']:16.0f}{row['ratio']:8.3f}{row['round_seconds']:9.3f}")
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
    """Tokens a second of both, medians, and the median of the ratios of each pair."""
    with made(MODEL, mode, batch, MICRO_BATCH) as text, LonePeer(text, MICRO_BATCH) as peer:
        plain = Plain(text, batch if mode == "gradient" else MICRO_BATCH, MICRO_BATCH, batch)
        for work in (peer, plain):
            work.turn(batch)
        rates, rounds = [], []
        for pair in range(pairs):
            order = (peer, plain) if pair % 2 else (plain, peer)
            measured = {work: tokens_per_second(work, batch) for work in order}
            rates.append((measured[peer], measured[plain]))
            rounds.append(peer.round_seconds)
    ratios = [one / other for one, other in rates]
    return {
        "peer": round(statistics.median(one for one, _ in rates), 1),
        "plain": round(statistics.median(other for _, other in rates), 1),
        "ratio": round(statistics.median(ratios), 4),
        "lowest_ratio": round(min(ratios), 4),
        "highest_ratio": round(max(ratios), 4),
        "round_seconds": round(statistics.median(rounds), 4),
    }


def tokens_per_second(work: LonePeer | Plain, batch: int) -> float:
    begin = time.perf_counter()
    samples = work.turn(batch)
    return samples * MODEL["sequence_length"] / (time.perf_counter() - begin)


def memory(option: tuple[str, str] | None) -> dict[str, float]:
    """Bytes a parameter that training grows this process by, at its peak, and parts of it. Linux tells it."""
    mode, optimizer = option or ("gradient", "adamw")
    with made(LARGE, mode, LARGE_BATCH, 1, overlap=False) as text, ExitStack() as stack:
        reset_peak()
        before = peak_bytes()
        if option is None:
            work: LonePeer | Plain = Plain(text, LARGE_BATCH, 1, LARGE_BATCH)
        else:
            work = stack.enter_context(LonePeer(text, 1, optimizer))
        sizes = {"all": 0}
        for _ in range(3):
            reset_peak()
            work.turn(LARGE_BATCH)
            sizes["all"] = max(sizes["all"], peak_bytes() - before, work.peak_before_round() - before)
        sizes |= {"optimizer": work.optimizer_bytes(), "averaging": work.averaging_bytes()}
        count = parameters(text.manifest.model)
        return {name: round(size / count, 1) for name, size in sizes.items()}


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return _status("VmRSS")


def reset_peak() -> None:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that this process has held since `reset_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


@contextmanager
def made(model: dict[str, int], mode: str, batch: int, micro_batch: int, *, overlap: bool = True) -> Iterator[Text]:
    """A run on the starter corpus, and everything imported. batch: samples between two rounds."""
    import bitsandbytes  # noqa: F401
    import torch

    import peers.wiring  # noqa: F401

    torch.set_num_threads(1)
    local = {"inner_batch": micro_batch, "inner_steps": max(1, batch // micro_batch), "overlap": overlap}
    training = {"mode": mode, "steps": 1_000_000, "global_batch": batch, "checkpoint_every": 64, "local": local}
    with tempfile.TemporaryDirectory() as folder:
        text = Text(Path(folder) / "run", None)
        create(text.folder, None, 0, {"name": "step", "model": model, "training": training})
        yield text


class LonePeer:
    """A training peer as `peers/wiring.py` builds it, without terminal and records. Use as a context manager."""

    def __init__(self, text: Text, micro_batch: int, optimizer: str = "adamw") -> None:
        self.text, self.manifest = text, text.manifest
        self.settings = {"micro_batch": micro_batch, "inner_optimizer": optimizer, "threads": 1}
        self.resources = ExitStack()
        self.round_seconds = 0.0

    def __enter__(self) -> LonePeer:
        from peers.training.trainer import Trainer
        from peers.wiring import averager, work
        from swarm.identity import Identity
        from swarm.model.bloom import starting_vector
        from swarm.network.host import Network
        from swarm.settings import Settings
        from swarm.state import SharedState

        identity, digest = Identity.generate(), self.manifest.digest
        network = self.resources.enter_context(Network(identity, digest, listen=("/ip4/127.0.0.1/tcp/0",)))
        self.state = SharedState.initial(self.manifest, starting_vector(self.manifest.model))
        rounds = averager(
            self.manifest, network, self.state, dict, folder=self.text.folder, checkpoint=None, settings=Settings()
        )
        self.resources.callback(rounds.close)
        batches = self.text.batches(network.peer_id, self.manifest.training.global_batch)
        training = work(
            self.manifest,
            self.state,
            batches,
            Settings(**self.settings),
            tell=lambda samples: None,
            leaving=bool,
            say=lambda words: None,
        )
        calls = {"catch_up": lambda missed: False, "report": self._report, "leaving": bool}
        self.work, self.rounds = training, Measured(rounds)
        self.trainer = partial(Trainer, self.state, training, self.rounds, **calls)
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()

    def _report(self, report: StepReport) -> None:
        from swarm.averaging.averager import Averaged

        assert isinstance(report.outcome, Averaged), report.outcome
        self.round_seconds = report.average_seconds + report.apply_seconds

    def optimizer_bytes(self) -> int:
        """Of the shared state's moments and momentum, and of the inner optimizer's."""
        inner = getattr(self.work, "inner", None)
        own = inner.memory_bytes() if inner is not None else 0
        return own + sum(vector.nbytes for vector in self.state.vectors[1:])

    def averaging_bytes(self) -> int:
        """Of the residuals, and the most that a round took beside them."""
        arithmetic = self.rounds.averager.driver.arithmetic
        return arithmetic.sent.memory_bytes + arithmetic.owed.memory_bytes + self.rounds.grown

    def peak_before_round(self) -> int:
        """The turn's peak until its round, whose measuring has reset it."""
        return self.rounds.before_round

    def turn(self, batch: int) -> int:
        """One step of the trainer's loop, due after `batch` samples; how many its round counted."""
        before = self.state.samples
        self.trainer(last_step=self.state.step + 1).run()
        return self.state.samples - before


class Measured:
    """An averager whose last round's memory is measured."""

    def __init__(self, averager: Any) -> None:
        self.averager, self.grown, self.before_round = averager, 0, 0
        self.due, self.roster = averager.due, averager.roster

    def average(self, step: int, contribution: Contribution) -> Outcome:
        self.before_round, before = peak_bytes(), resident_bytes()
        reset_peak()
        outcome = self.averager.average(step, contribution)
        self.grown = peak_bytes() - before
        return outcome


class Plain:
    """What everybody writes first. batch: samples in an optimizer step. held: samples that lie in memory."""

    def __init__(self, text: Text, batch: int, micro_batch: int, held: int) -> None:
        import torch

        from swarm.model.bloom import model_from_vector, starting_vector
        from swarm.model.precision import best_precision

        batches = text.batches("plain", held)
        batches.begin(0, ())
        self.samples = torch.as_tensor(batches.next(held).input_ids)
        self.model = model_from_vector(text.manifest.model, starting_vector(text.manifest.model))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.batch, self.micro_batch = batch, micro_batch
        self.lower = best_precision(torch.device("cpu")) != "float32"

    def optimizer_bytes(self) -> int:
        values = [value for state in self.optimizer.state.values() for value in state.values()]
        return sum(value.numel() * value.element_size() for value in values)

    def averaging_bytes(self) -> int:
        return 0

    def peak_before_round(self) -> int:
        return 0

    def turn(self, count: int) -> int:
        """Train on `count` samples."""
        import torch

        for start in range(0, count, self.batch):
            for first in range(start, start + self.batch, self.micro_batch):
                ids = self.samples[first : first + self.micro_batch]
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.lower):
                    loss = self.model(input_ids=ids, labels=ids, use_cache=False).loss
                (loss * (self.micro_batch / self.batch)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--samples", type=int, help="of 128 tokens between two rounds (default 192; mode local 400)")
    return parser


if __name__ == "__main__":
    main()
