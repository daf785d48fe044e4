"""A position in the log as bytes, for checkpoints; and states of the log that a quorum has certified span by span."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

from swarm.averaging.live.terms import ROOT_BYTES, Terms
from swarm.averaging.round.certificate import Position, Seat
from swarm.averaging.round.log import Log
from swarm.averaging.round.messages import DIGEST, MAX_PEERS, MAX_REAL, Outcome
from swarm.errors import CheckpointError

FORMAT = "bloomswarm-position-1"
MAX_POSITION_BYTES = 512 * MAX_PEERS


def position_to_bytes(position: Position) -> bytes:
    seats = [list(seat) for seat in position.electorate]
    head = [FORMAT, position.run, position.lineage, position.round, position.head]
    return bytes(msgpack.packb([*head, seats]))


def position_from_bytes(data: bytes) -> Position:
    """The position that `position_to_bytes` wrote. CheckpointError for everything else."""
    try:
        if len(data) > MAX_POSITION_BYTES:
            raise ValueError("too long")
        form, run, lineage, round_, head, seats = msgpack.unpackb(data, max_ext_len=0, max_map_len=0)
        digests = all(isinstance(d, bytes) and len(d) == DIGEST for d in (run, lineage, head))
        if form != FORMAT or not digests or type(round_) is not int or not 0 <= round_ < 2**53:
            raise ValueError("not a position")
        if not isinstance(seats, list) or len(seats) > MAX_PEERS:
            raise ValueError("not an electorate")
        position = Position(run, lineage, round_, head, tuple(_seat(seat) for seat in seats))
        if position_to_bytes(position) != data or len(position.seats) != len(position.electorate):
            raise ValueError("not canonical")
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise CheckpointError(f"the position in the log is damaged ({error}); use another checkpoint") from None
    return position


def _seat(value: Any) -> Seat:
    peer, incarnation, full, weight = value
    good = isinstance(peer, str) and 0 < len(peer) <= 128 and peer.isascii()
    good = good and type(incarnation) is int and 0 <= incarnation < 2**64 and isinstance(full, bool)
    if not good or not isinstance(weight, float) or not 0 <= weight <= MAX_REAL:
        raise ValueError("not a seat")
    return Seat(peer, incarnation, full, weight)


@dataclass(frozen=True)
class CertifiedState:
    """A shared state that most of an electorate has signed. root: `SharedState.root`, which pins all of it."""

    head: bytes
    step: int
    root: bytes


def certified_states(log: Log, terms: Terms) -> Iterator[CertifiedState]:
    """The states in this log that are certified whole, newest first."""
    for parent, entry in zip(log.chain[-2::-1], log.chain[:0:-1], strict=False):
        if not terms.whole(parent.position.round):
            continue
        assert entry.commit is not None
        state = agreed(parent.position, entry.commit.outcome, terms.state_bytes(parent.position.round))
        if state:
            yield CertifiedState(parent.position.head, parent.position.round, state[-ROOT_BYTES:])


def agreed(parent: Position, outcome: Outcome, size: int) -> bytes | None:
    """What more than half of this round's electorate (for a fork: of its roster) says it holds."""
    voters = parent.seats if not outcome.fork else dict.fromkeys(outcome.roster)
    told = Counter(
        ready.message.state
        for ready in outcome.readys
        if ready.message.at.peer in voters and len(ready.message.state) == size
    )
    state, votes = told.most_common(1)[0] if told else (b"", 0)
    return state if 2 * votes > len(voters) else None
