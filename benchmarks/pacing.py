"""Computing that takes time and no processor: recorded once, then waited for. A gradient is noise of its scale."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch

import peers.wiring
from swarm.model.gradient import GradientAccumulator

if TYPE_CHECKING:
    from swarm.run.schema import RunConfig

RECORDED = 6  # micro-batches
NOISE = 65_537  # different values; prime, so that no two spans are equal, which would be sent once
LOSS = 9.0  # of every sample, nats a token
durations = itertools.cycle([0.4])


def pace(seconds: Sequence[float]) -> None:
    """From now on this process's peer waits so long for its samples, one after another, instead of computing."""
    global durations
    durations = itertools.cycle(seconds)
    peers.wiring.GradientAccumulator = PacedAccumulator  # type: ignore[misc]


class PacedAccumulator(GradientAccumulator):
    """Waits instead of computing."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        block = torch.empty(NOISE).normal_(0.0, 1e-3, generator=torch.Generator().manual_seed(1))
        for start in range(0, self._sum.numel(), NOISE):  # drawing all of it would delay this peer by a second
            part = self._sum[start : start + NOISE]
            part.copy_(block[: part.numel()])
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
