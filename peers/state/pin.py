"""A link may pin a checkpoint, `&at=<round>:<root>`: whoever joins by it takes part in that history or in none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarm.errors import LinkError, NetworkError

if TYPE_CHECKING:
    from swarm.averaging.live.positions import CertifiedState
    from swarm.state.shared import SharedState

Pin = tuple[int, str]  # round, `SharedState.root` in hex


def require_pinned(pin: Pin | None, wanted: Sequence[CertifiedState], start: int) -> None:
    """LinkError where the states that are certified are not those of the run that the link pins.

    NetworkError where the run has not come so far. start: the round from which the log is known.
    """
    if pin is None or pin[0] < start:
        return
    newest = max((each.step for each in wanted), default=0)
    if newest < pin[0]:
        raise NetworkError(f"the link pins the state of round {pin[0]}, the swarm's newest is of round {newest}")
    found = next((each.root.hex() for each in wanted if each.step == pin[0]), None)
    if found != pin[1]:
        raise LinkError(_words(pin, found))


def require_computed(pin: Pin | None, state: SharedState) -> None:
    """LinkError where this state, computed here, is of the pinned round and another one."""
    if pin is not None and state.step == pin[0] and state.digest() != pin[1]:
        raise LinkError(_words(pin, state.digest()))


def _words(pin: Pin, found: str | None) -> str:
    what = f"is {found[:16]}" if found is not None else "was never certified"
    return (
        f"the state of round {pin[0]} {what} in this swarm, the link pins {pin[1][:16]}: "
        "this is another history of the run; ask whoever gave you the link"
    )
