"""The seam between training and averaging: what goes in, what comes out, and nothing about how.

A step is a transaction: `average` returns a value, `Averaged` or `Missed`, and never raises for what other peers do.
The mean is handed over as spans that are decoded on demand, so that nobody needs a second float32 copy of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from swarm.state.diary import Diary


@dataclass(frozen=True)
class Contribution:
    """What one peer gives to one round.

    vector: (size,) float32, the mean over this peer's samples. weight: its share in the average, normally `samples`.
    samples: sequences it is made of. staleness: rounds between the parameters it was computed at and this round.
    diary: in mode "local", how it was made; kept with what was sent, and never sent.
    """

    vector: np.ndarray
    weight: float
    samples: int
    staleness: int = 0
    diary: Diary | None = None


@dataclass(frozen=True)
class Member:
    """One peer of a committed roster, in roster order."""

    peer_id: str
    samples: int
    weight: float


class Mean(Protocol):
    """The average of one round: spans of a flat vector, each committed or void."""

    size: int

    def spans(self) -> Iterator[tuple[slice, np.ndarray | None]]:
        """Every span in order with its float32 values, or None where it is void. Each array is fresh or read-only."""
        ...

    def squared_norm(self) -> float:
        """Sum of squares over the committed spans, the same double on every CPU."""
        ...


@dataclass(frozen=True)
class RoundStats:
    """What a round cost and how good it was, counted by the adapter from what was really sent."""

    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    codec_relative_error: float | None = None
    codec_cosine: float | None = None
    ballots: int = 1
    void_spans: int = 0


@dataclass(frozen=True)
class Averaged:
    """A committed round. Every member that gets it for this step applies it exactly once."""

    step: int
    mean: Mean
    roster: tuple[Member, ...]
    included: bool = True
    stats: RoundStats = field(default_factory=RoundStats)

    @property
    def samples(self) -> int:
        return sum(member.samples for member in self.roster)


@dataclass(frozen=True)
class Missed:
    """No outcome for this peer. `behind`: the swarm went on without it, so it must catch up before it contributes."""

    step: int
    reason: str
    behind: bool = False
    stats: RoundStats = field(default_factory=RoundStats)


Outcome = Averaged | Missed


class Averager(Protocol):
    """One implementation a peer: simulated, hivemind's all-reduce, or the round of docs/protocol.md."""

    def due(self, step: int, samples: int) -> bool:
        """Tell the swarm that `samples` are accumulated for `step`; True when it is time to contribute them.

        Cheap (no waiting), called after every micro-batch.
        """
        ...

    def average(self, step: int, contribution: Contribution) -> Outcome:
        """Take part in the round of `step`. Blocks until the outcome is known. Being alone is not an error."""
        ...

    def roster(self) -> tuple[str, ...]:
        """Peer ids of the last committed round in roster order; empty before the first."""
        ...

    def close(self) -> None:
        """Leave: hand back what is in flight and free every process, port and file."""
        ...
