"""Is this peer's model faster with `torch.compile` here? Tried in a process of its own, which may fail, hang, or die.

    python -P -m peers.training.compile_trial    reads an order from standard input, answers on standard output

The same architecture with weights that nobody needs, as it is and compiled, in turns, on the micro-batch's shape: what
the answer compares is two medians under the same load. What it compiles stays in the cache folder, where the peer finds
it. It ends when its standard input does: with the peer, however that ends.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

TURNS = 7
NICENESS = 10  # training goes first


def main() -> None:
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_peer, daemon=True).start()
    answer = trial(order)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # torch's own threads are not waited for


def _end_with_the_peer() -> None:
    sys.stdin.read()
    os._exit(1)


def trial(order: dict[str, Any]) -> dict[str, float]:
    """Seconds of forward and backward as it is and compiled, of compiling, and how far the gradients are apart.

    order: spec, device, precision, checkpointing, threads, samples, niceness.
    """
    os.nice(order["niceness"])
    import torch

    from swarm.model.bloom import model_from_vector
    from swarm.model.gradient import Compiled, GradientAccumulator
    from swarm.model.initial import quick_weights
    from swarm.model.layout import Layout
    from swarm.run.schema import ModelSpec

    torch.set_num_threads(order["threads"])
    spec, samples = ModelSpec(**order["spec"]), order["samples"]
    layout, generator = Layout.of(spec), np.random.default_rng(0)
    model = model_from_vector(spec, quick_weights(layout), order["device"])
    if order["checkpointing"]:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    sums = GradientAccumulator(model, layout, precision=order["precision"])
    ids = generator.integers(0, spec.vocab_size, (samples, spec.sequence_length))
    refs = [SimpleNamespace(language="en")] * samples
    batch = SimpleNamespace(input_ids=ids, labels=ids, refs=refs)

    def gradient() -> np.ndarray:
        sums.reset()
        sums.add(batch)
        return sums.contribution().vector

    def seconds(compiled: Compiled | None) -> float:
        sums.compiled = compiled
        began = time.perf_counter()
        sums.add(batch)
        return time.perf_counter() - began

    plain, began = gradient(), time.perf_counter()
    sums.compiled = compiled = Compiled((samples, spec.sequence_length), compiled_forward(model), _raise)
    other, compiling = gradient(), time.perf_counter() - began
    turns = [(seconds(None), seconds(compiled)) for _ in range(TURNS)]
    return {
        "plain": statistics.median(one for one, _ in turns),
        "compiled": statistics.median(one for _, one in turns),
        "compiling": compiling,
        "error": float(np.linalg.norm(other - plain) / np.linalg.norm(plain)),
    }


def compiled_forward(model: Any) -> Callable[..., Any]:
    """`model` compiled, at its first call; in this process alone, and for one shape."""
    import torch
    from torch._inductor import config

    config.compile_threads = 1  # no helper processes, which would outlive us
    return torch.compile(model, dynamic=False)


def _raise(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    main()
