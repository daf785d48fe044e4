"""Replay: is a contribution what the plan and the committed state say it must be?

A peer's gradient follows from public things: the parameters of its step, the roster of the round before, and how many
samples it says it gave. So does what it gives in mode "local", but for its own moments (`peers/training/rerun.py`).
Neither is reproducible to the bit across machines, and what was sent carries the error feedback of the round before; so
they are compared by relative error and cosine, and not by digest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarm.averaging.codec import CodecError, decode
from swarm.averaging.live.journal import read_all
from swarm.averaging.live.kept import Sent
from swarm.averaging.live.terms import Terms
from swarm.averaging.round.messages import DOMAIN, Commit, Envelope, Ready
from swarm.errors import CheckpointError, ConfigError, RunFailedError
from swarm.trust.identity import verify

TOLERANCE = 0.1  # relative error; 8 bits and what error feedback carries are 0.01 to 0.02, bfloat16 products 0.02
LEAST_COSINE, MOST_SCALE = 0.5, 2.0  # where the peer's moments are not known: direction and length only


@dataclass(frozen=True)
class Claim:
    """What a peer has signed for one round, and the roster by which it read. base: head of its parameters' log."""

    peer: str
    step: int
    samples: int
    root: bytes
    included: bool
    base: bytes
    roster: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """relative_error: of what was sent, against what was computed here. scale: its length over that of ours.

    tolerance: of the relative error; None where moments were not known, and direction and length decide. rounds,
    inner_steps: computed for it, in mode "local".
    """

    peer: str
    step: int
    samples: int
    relative_error: float
    cosine: float
    scale: float
    tolerance: float | None
    rounds: int = 1
    inner_steps: int = 0

    @property
    def same(self) -> bool:
        if self.tolerance is not None:
            return self.relative_error <= self.tolerance
        return self.cosine >= LEAST_COSINE and 1 / MOST_SCALE <= self.scale <= MOST_SCALE

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"same": self.same}

    def allowed(self) -> str:
        """In words."""
        if self.tolerance is not None:
            return f"at most {self.tolerance} is allowed"
        return f"a cosine of {LEAST_COSINE} and a length within {MOST_SCALE:g} times are asked for"


def read_log(path: Path) -> list[Commit]:
    """The commits of a peer's log on disk. CheckpointError where there is none."""
    try:
        with path.open("rb") as file:
            return [commit for commit, _ in read_all(file)]
    except OSError as error:
        raise CheckpointError(f"{path}: no log of rounds ({error.strerror or error}); name a peer's folder") from None


def claim_of(commits: Sequence[Commit], peer: str, step: int, staleness: int) -> Claim:
    """What `peer` claimed for the round of `step`. ConfigError where it was not in it, or the log does not hold it."""
    held = {commit.outcome.round: commit for commit in commits}
    if (commit := held.get(step + 1)) is None:
        span = f"steps {min(held) - 1} to {max(held) - 1}" if held else "no step"
        raise ConfigError(f"the log here holds {span}, not step {step}; name another step, or another peer's folder")
    outcome = commit.outcome
    if (index := outcome.index(peer)) is None:
        raise ConfigError(f"{peer} was not in the round of step {step}; who was: {', '.join(outcome.roster)}")
    ready = outcome.readys[index]
    _require_signed(ready)
    start = step - staleness  # the round that made its parameters is number `start`
    if staleness > 1 or start < 0 or (start > 0 and start not in held) or (staleness and start + 1 not in held):
        raise ConfigError(f"the log here does not hold the round before step {start}; name a later step")
    base = held[start + 1].outcome.base
    roster = held[start].outcome.roster if start > 0 else ()
    message = ready.message
    return Claim(peer, step, message.samples, message.root, outcome.included[index], base, roster)


def _require_signed(ready: Envelope[Ready]) -> None:
    if not verify(ready.message.at.peer, DOMAIN + ready.body, ready.signature):
        raise RunFailedError(f"the log's Ready of {ready.message.at.peer} is not signed by it: this log was altered")


def require_sent(claim: Claim, sent: Sent) -> None:
    """RunFailedError where these frames are not what the peer has signed for that round."""
    if sent.step != claim.step or sent.root != claim.root:
        raise RunFailedError(
            f"what was kept of {claim.peer} is not what it gave to step {claim.step}: "
            f"root {sent.root.hex()[:16]}, signed {claim.root.hex()[:16]}; name that peer's own folder with --sent"
        )


def compare(claim: Claim, sent: Sent, vector: np.ndarray, terms: Terms, tolerance: float | None = TOLERANCE) -> Verdict:
    """vector: (size,) float32, computed here. CheckpointError where a frame cannot be decoded."""
    squares = error = product = decoded = 0.0
    for values, own in zip(_decoded(sent.frames, terms), (vector[place] for place in terms.spans), strict=True):
        ours, theirs = own.astype(np.float64), values.astype(np.float64)
        squares += float(ours @ ours)
        decoded += float(theirs @ theirs)
        product += float(ours @ theirs)
        error += float((ours - theirs) @ (ours - theirs))
    both = math.sqrt(squares * decoded)
    relative = math.sqrt(error / squares) if squares else math.inf if decoded else 0.0
    return Verdict(
        peer=claim.peer,
        step=claim.step,
        samples=claim.samples,
        relative_error=min(relative, 1e9),
        cosine=product / both if both else float(not squares and not decoded),
        scale=min(math.sqrt(decoded / squares), 1e9) if squares else 1e9 * bool(decoded),
        tolerance=tolerance,
    )


def _decoded(frames: Sequence[bytes], terms: Terms) -> Iterable[np.ndarray]:
    if len(frames) != len(terms.spans):
        raise CheckpointError(f"{len(frames)} spans were kept, the run has {len(terms.spans)}; it is of another run")
    for span, frame in enumerate(frames):
        try:
            yield decode(terms.codec, memoryview(frame), terms.values(span))
        except CodecError as error:
            raise CheckpointError(f"span {span} of what was kept cannot be decoded: {error}") from None
