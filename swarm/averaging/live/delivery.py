"""What passes between the round and the trainer: an offer one way, outcomes the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swarm.averaging.averager import Contribution
from swarm.averaging.live.arithmetic import Given
from swarm.averaging.round.certificate import Position
from swarm.averaging.round.messages import Outcome


@dataclass(frozen=True)
class Certified:
    """An outcome for the trainer, and the position after it. given: this peer's encoding, if it took part."""

    outcome: Outcome
    position: Position
    included: bool
    given: Given | None


@dataclass(frozen=True)
class Behind:
    """The shared state must be fetched."""

    reason: str


@dataclass(frozen=True)
class Broken:
    """This peer's own contribution cannot be encoded."""

    error: BaseException


Delivery = Certified | Behind | Broken


@dataclass(frozen=True)
class Offer:
    """What the trainer gives to the round of `step`; `state()` are the digests of the state due in it."""

    step: int
    contribution: Contribution
    state: Callable[[], bytes]
