"""The command line, with computing that takes time and no processor: `benchmarks.joining` starts its peers with it.

    python -m benchmarks.paced record RUN          prints what samples take here, computed for real
    python -m benchmarks.paced SECONDS COMMAND ...

SECONDS: as `record` printed them; replayed one after another. Everything else of the peer is as it is: model, text,
rounds, state, checkpoints. Its gradient is noise of a gradient's scale.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch

import peers.wiring
from peers.cli import main
from swarm.model.gradient import GradientAccumulator

if TYPE_CHECKING:
    from swarm.run.schema import RunConfig

RECORDED = 6  # micro-batches
LOSS = 9.0  # of every sample, nats a token
durations = itertools.cycle([0.4])


class PacedAccumulator(GradientAccumulator):
    """Waits instead of computing."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._sum.normal_(0.0, 1e-3, generator=torch.Generator().manual_seed(1))
        self.pause = threading.Event()

    def _forward_and_backward(self, forward: object, ids: torch.Tensor, labels: torch.Tensor) -> list[float]:
        self.pause.wait(sum(itertools.islice(durations, len(ids))))
        return [LOSS] * len(ids)

    def reset(self) -> None:
        """Forget the counts; the noise stays."""
        noise, self._sum = self._sum, self._sum[:0]
        super().reset()
        self._sum = noise


def record(config: RunConfig) -> list[float]:
    """Seconds of one sample in each of a few micro-batches of the run's model, on one thread, once it is warm."""
    import numpy as np

    from swarm.model.bloom import build_model
    from swarm.model.layout import Layout

    torch.set_num_threads(1)
    length = config.model.sequence_length
    sums = GradientAccumulator(build_model(config.model), Layout.of(config.model))
    samples = max(1, peers.wiring.MICRO_BATCH_TOKENS["cpu"] // length)
    ids = np.random.default_rng(0).integers(0, config.model.vocab_size, (samples, length))
    batch = SimpleNamespace(input_ids=ids, labels=ids, refs=[SimpleNamespace(language="en")] * samples)
    taken = []
    for _ in range(RECORDED + 1):
        began = time.perf_counter()
        sums.add(batch)
        taken.append((time.perf_counter() - began) / samples)
    return taken[1:]


def replay(seconds: str, arguments: list[str]) -> None:
    """Run a command of bloomswarm whose peer computes for so long."""
    global durations
    durations = itertools.cycle([float(each) for each in seconds.split(",")])
    peers.wiring.GradientAccumulator = PacedAccumulator  # type: ignore[misc]
    main(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "record":
        from peers.run_folder import RunFolder

        print(",".join(f"{each:.4f}" for each in record(RunFolder(Path(sys.argv[2])).manifest().manifest)))
    else:
        replay(sys.argv[1], sys.argv[2:])
