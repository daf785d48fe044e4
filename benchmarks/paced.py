"""The command line, with computing that takes time and no processor: `benchmarks.joining` starts its peers with it.

    python -m benchmarks.paced SECONDS COMMAND ...

SECONDS: what samples took when they were computed for real, comma-separated; replayed one after another. Everything
else of the peer is as it is: model, text, rounds, state, checkpoints. Its gradient is noise of a gradient's scale.
"""

from __future__ import annotations

import itertools
import sys
import threading

import torch

import peers.wiring
from peers.cli import main
from swarm.model.gradient import GradientAccumulator

durations = itertools.cycle([0.4])


class PacedAccumulator(GradientAccumulator):
    """Waits instead of computing."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._sum.normal_(0.0, 1e-3, generator=torch.Generator().manual_seed(1))
        self.pause = threading.Event()

    def _forward_and_backward(self, ids: torch.Tensor, labels: torch.Tensor) -> float:
        self.pause.wait(sum(itertools.islice(durations, len(ids))))
        return 9.0 * len(ids)

    def reset(self) -> None:
        self.samples, self.loss_sum = 0, 0.0
        self.languages.clear()
        self.tokens.clear()


if __name__ == "__main__":
    durations = itertools.cycle([float(each) for each in sys.argv.pop(1).split(",")])
    peers.wiring.GradientAccumulator = PacedAccumulator  # type: ignore[misc]
    main()
