"""What goes into a peer's core and what comes out: the whole interface between the protocol and the world.

The adapter owns the bytes, the clock, the connections and the arithmetic; the core owns every decision. Bytes are named
by their digest (`swarm.digest`) and live in two stores of the adapter, "part" (encoded contributions) and "mean"
(encoded means), until the core releases them. Bytes enter their store when the event that tells of them is stepped, not
before: equal bytes that nobody wants may be released until then. `docs/protocol.md` tells who holds which bytes when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from swarm.averaging.round.messages import Ballot, Envelope, Outcome

Store = Literal["part", "mean"]

# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A payload the adapter has stored after checking its frame and that its values are finite."""

    digest: bytes
    norm: float = 0.0


@dataclass(frozen=True, slots=True)
class Due:
    """It is time for a round, by the progress records. `expected`: announced peers besides the electorate.

    absent: of the electorate, those of whom nothing is heard. They are waited for, and host no ballot of a fork.
    boundary: seconds until peers that are worth waiting for have ended the micro-batch in which the call finds them.
    """

    expected: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    boundary: float = 0.0


@dataclass(frozen=True, slots=True)
class Contribute:
    """The answer to Encode: one digest and norm per span, the bytes in the "part" store. Weight 0: no digests."""

    base: bytes
    digests: tuple[bytes, ...] = ()
    norms: tuple[float, ...] = ()
    weight: float = 0.0
    samples: int = 0
    state: bytes = b""  # 8-byte digests of the shared state's spans that are due, in order


@dataclass(frozen=True, slots=True)
class Received:
    """`sender` is whom the connection authenticates. `held` describes the payload, if one came and was usable.

    data: the message as it came, or what `reading.parse` made of it where the adapter had to look before it took the
    payload.
    """

    sender: str
    data: bytes | Envelope
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """The answer to Compute: the encoded mean is in the "mean" store."""

    base: bytes
    ballot: Ballot
    span: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Restored:
    """The answer to Restore: the shared state now is the one after the round whose log head this is."""

    head: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to `peer` broke. A hint: it shortens waits, and decides nothing."""

    peer: str


@dataclass(frozen=True, slots=True)
class Heard:
    """`peer` says that it builds on this head. A hint: peers that do not meet in a round find one another by it."""

    peer: str
    base: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """The time of the last Wake has come (or any other time)."""


@dataclass(frozen=True, slots=True)
class Leave:
    """This peer wants to go: tell the others, be Ready for no further round."""


Event = Due | Contribute | Received | Computed | Restored | Lost | Heard | Tick | Leave

# --- effects ---------------------------------------------------------------------------------------------------------


class Payload(NamedTuple):
    """Bytes that go with a message. span: which part of a contribution they are, whose spans may hold equal bytes."""

    store: Store
    digest: bytes
    span: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Send `data`, followed by the payload if there is one."""

    to: str
    data: bytes
    payload: Payload | None = None


@dataclass(frozen=True, slots=True)
class Encode:
    """Encode what this peer has to give to the round after `base`; answer Contribute. Asked once per base."""

    base: bytes
    round: int


@dataclass(frozen=True, slots=True)
class Compute:
    """Average these parts in this order with these weights, add this peer's reducer residual, encode once.

    Keep the residual that results as tentative under (base, ballot, span); answer Computed.
    """

    base: bytes
    ballot: Ballot
    span: int
    parts: tuple[tuple[bytes, float], ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """What becomes of a residual. It precedes the Apply of the round that decides it.

    sender: adopt (e <- x + e - dec q) | keep (e stays; x is dropped and counted, or stays in local parameters)
            | reset (e <- 0 and counted: an outcome holds something of mine that I no longer know).
    reducer: adopt the tentative one of (base, ballot, span) | keep (forget the tentative one) | drop (E <- 0, counted).
    """

    role: Literal["sender", "reducer"]
    verdict: Literal["adopt", "keep", "reset", "drop"]
    span: int
    base: bytes
    ballot: Ballot | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply this certified outcome to the shared state, now, once. Its means are in the store."""

    outcome: Outcome
    head: bytes
    included: bool


@dataclass(frozen=True, slots=True)
class Restore:
    """Bring the shared state to `common` or an older head of this log (a checkpoint here), or to any later one
    (`download`: from other peers). Answer Restored. `lost`: own rounds that are given up."""

    common: bytes
    tip: bytes
    download: bool
    lost: int


@dataclass(frozen=True, slots=True)
class Recall:
    """`to` asks what follows these heads, and none of them is in memory any more: answer from the log on disk."""

    to: str
    heads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Forked:
    """This peer goes on in a new lineage, because no quorum of the old one answered."""

    lineage: bytes
    round: int


@dataclass(frozen=True, slots=True)
class Missed:
    """No outcome for what this peer wanted to give, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """The shared state here differs from the majority's in these of the due spans."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """These bytes are no longer needed."""

    store: Store
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """Two different signed messages of one peer for one place: keep them."""

    peer: str
    first: Envelope
    second: Envelope


@dataclass(frozen=True, slots=True)
class Wake:
    """Send a Tick at this time of the local clock; replaces the last Wake."""

    at: float


@dataclass(frozen=True, slots=True)
class Count:
    """Something worth a metric; `name` comes from a small fixed set."""

    name: str


Effect = (
    Send
    | Encode
    | Compute
    | Settle
    | Apply
    | Restore
    | Recall
    | Forked
    | Missed
    | Diverged
    | Release
    | Proof
    | Wake
    | Count
)
