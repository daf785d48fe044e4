"""A peer that averages for others and trains nothing: it reduces spans, votes, keeps and serves the shared state.

To the round it is a member whose contribution has weight 0. It reads no text and builds no model, so it needs a good
line and memory for the shared state, but no GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from peers.finding.entry import PORT
from peers.roles.peer import Peer
from peers.training.trainer import StepReport
from swarm.averaging.averager import Averaged, Averager, Contribution, Outcome
from swarm.errors import EndedError, IncompatibleError, NetworkError

if TYPE_CHECKING:
    from peers.finding.ending import Ending


class Help:
    """`Work` without computing: at every step at once nothing, and then the round's outcome."""

    loss = None
    tokens: Counter[str] = Counter()
    language_samples: Counter[str] = Counter()
    language_losses: Counter[str] = Counter()

    def contribution(self, step: int, averager: Averager) -> Contribution:
        return Contribution(np.empty(0, dtype=np.float32), weight=0.0, samples=0)

    def exchange(self, step: int, average: Callable[[], Outcome]) -> Outcome:
        return average()

    def amend(self, training: object) -> None:
        """Likewise none of its business."""

    def update(self, outcome: Averaged) -> None:
        """There is no model that follows the state."""

    def restart(self) -> None:
        """Likewise."""


class NoText:
    """Keeps the cursor of a checkpoint as it is, for when this folder trains again."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def restore(self, cursor: dict[str, Any]) -> None:
        self.kept = cursor

    def cursor(self) -> dict[str, Any]:
        return self.kept


class Assistant(Peer):
    role = "assistant"

    def __enter__(self) -> Assistant:
        self.require_fit()
        super().__enter__()
        return self

    @classmethod
    def late(cls, over: Ending) -> Callable[..., Assistant]:
        raise EndedError(f"{over.words}: there is nothing left to average; {over.outlook}")

    def require_fit(self) -> None:
        algorithm = self.manifest.averaging.algorithm
        if algorithm != "round":
            raise IncompatibleError(
                f"this run averages by {algorithm}, where only who trains takes part; join it instead"
            )
        if self.network.client:
            raise NetworkError(
                "nobody can dial this machine, so it can average for nobody; forward a TCP port to it and name it: "
                f"--listen /ip4/0.0.0.0/tcp/{PORT}"
            )

    def text(self) -> NoText:
        return NoText()

    def making(self) -> Help:
        self.say("Averaging for others: nothing is trained on this machine.")
        return Help()

    def evaluating(self) -> None:
        """It has no model to measure."""

    def report(self, report: StepReport) -> None:
        self.follow()
        self.reporter.step(report, self.work, None)
        self.reporter.figures(self.averager.figures)
