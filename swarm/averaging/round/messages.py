"""The messages of the round: typed, bounded, and packed canonically with msgpack.

A message travels as `[body, signature]`; the body is `[tag, header, *fields]`. What is forwarded (Ready, Propose,
Reduced, Vote, ...) is signed by its peer; bulk and questions (Part, Mean, Lack, Fetch) are covered by digests and by
the authenticated connection; a Commit proves itself. `reading` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import ClassVar, Generic, NamedTuple, TypeVar

import msgpack

MAX_BYTES = 16 * 2**20  # of one message, without its payload
MAX_PEERS = 1024
MAX_SPANS = 2**16
MAX_ITEMS = 64  # digests, spans or heads in one question
MAX_STATE = 2**15
MAX_INVITATION = 80  # bytes
MAX_REAL = 1e15
DIGEST = 32
DOMAIN = b"bloomswarm round 1\x00"  # what is signed is never anything else's bytes


class MessageError(Exception):
    """Bytes that are not a message. `reason` comes from a small fixed set, so that it can be a metric's label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ballot(NamedTuple):
    """One attempt at a round. Ordered; the host's incarnation makes it unique even when a host restarts."""

    number: int
    host: str
    incarnation: int


class Header(NamedTuple):
    """What every message is about and who says it. `base` is the head of the log the round builds on."""

    run: bytes
    lineage: bytes
    round: int
    base: bytes
    ballot: Ballot
    peer: str
    incarnation: int


class LastVote(NamedTuple):
    ballot: Ballot
    outcome: bytes


class SpanOutcome(NamedTuple):
    """A span's certified bytes, whose reducer made them (roster index), and a bitmap of whose parts are in them."""

    digest: bytes
    reducer: int
    senders: bytes

    @property
    def void(self) -> bool:
        return not self.digest

    def has(self, index: int) -> bool:
        return index // 8 < len(self.senders) and bool(self.senders[index // 8] >> (index % 8) & 1)


VOID = SpanOutcome(b"", 0, b"")
M = TypeVar("M", bound="Message", covariant=True)


def pack(value: object) -> bytes:
    return msgpack.packb(value, default=_plain)


def _plain(value: Envelope | Outcome) -> object:
    return (value.body, value.signature) if isinstance(value, Envelope) else values(value)


def values(item: Message | Outcome) -> tuple[object, ...]:
    """Its fields, in order."""
    return tuple([getattr(item, name) for name in _names(type(item))])  # type: ignore[arg-type]


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


@dataclass(frozen=True, eq=False)
class Envelope(Generic[M]):
    """A message with the bytes it came in and its peer's signature (empty where none is needed)."""

    message: M
    body: bytes
    signature: bytes = b""

    @cached_property
    def signed_digest(self) -> bytes:
        return sha256(self.body, self.signature)

    @cached_property
    def wire(self) -> bytes:
        return pack((self.body, self.signature))


@dataclass(frozen=True, eq=False)
class Outcome:
    """The value a round decides. `readys` is the roster; `ballot` is the one it was made in, perhaps not the last.

    The next electorate is the roster; for a fork it also is the electorate that certifies the fork itself.
    """

    run: bytes
    lineage: bytes
    round: int
    base: bytes
    ballot: Ballot
    fork: bool
    readys: tuple[Envelope[Ready], ...]
    spans: tuple[SpanOutcome, ...]

    @cached_property
    def digest(self) -> bytes:
        return sha256(pack(self))

    @cached_property
    def head(self) -> bytes:
        """L(r) = H(L(r-1), outcome r)."""
        return sha256(self.base, self.digest)

    @cached_property
    def roster(self) -> tuple[str, ...]:
        return tuple(ready.message.at.peer for ready in self.readys)

    @cached_property
    def means(self) -> tuple[bytes, ...]:
        """Digests of the spans that are not void."""
        return tuple(span.digest for span in self.spans if not span.void)

    def index(self, peer: str) -> int | None:
        return self.roster.index(peer) if peer in self.roster else None

    @cached_property
    def included(self) -> tuple[bool, ...]:
        """Per roster entry: is anything of it in any span?"""
        return tuple(any(span.has(index) for span in self.spans) for index in range(len(self.readys)))


@dataclass(frozen=True, eq=False)
class Message:
    at: Header
    TAG: ClassVar[int]
    SIGNED: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class Call(Message):
    """Host to all: a round is on; encode and be Ready."""

    TAG: ClassVar[int] = 1


@dataclass(frozen=True, eq=False)
class Ready(Message):
    """Member to host: what I will give, and the promise to ignore lower ballots of this round."""

    TAG: ClassVar[int] = 2
    weight: float
    samples: int
    bandwidth: float  # bits a second upwards, 0 if unknown
    full: bool  # False: a client that others cannot dial; it reduces nothing and hosts nothing
    root: bytes  # Merkle root of the encoded spans; zeros with weight 0
    state: bytes  # 8-byte digests of the shared state's spans that are due, in order
    vote: LastVote | None
    invitation: bytes = b""  # in a run that is not open (swarm/trust/invitation.py)


@dataclass(frozen=True, eq=False)
class Roster(Message):
    """Host to rostered: who is in, and which of them reduces each span. `attempt` 1 reassigns the stalled spans."""

    TAG: ClassVar[int] = 3
    attempt: int
    readys: tuple[Envelope[Ready], ...]
    reducers: tuple[int, ...]
    patience: float  # seconds after which a reducer stops waiting for senders; the host waits longer for the reducer


@dataclass(frozen=True, eq=False)
class Part(Message):
    """Member to reducer: my encoded span (the payload) with its path to my root."""

    TAG: ClassVar[int] = 4
    SIGNED: ClassVar[bool] = False
    span: int
    digest: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Mean(Message):
    """Anyone to anyone: the encoded mean of a span (the payload). Only the digest counts."""

    TAG: ClassVar[int] = 5
    SIGNED: ClassVar[bool] = False
    span: int
    digest: bytes


@dataclass(frozen=True, eq=False)
class Reduced(Message):
    """Reducer to host: the span's digest and whose parts are in it. An empty digest: nothing usable came."""

    TAG: ClassVar[int] = 6
    span: int
    digest: bytes
    senders: bytes


@dataclass(frozen=True, eq=False)
class Propose(Message):
    """Host to all: the value to certify; `proof` are this ballot's Readys when the outcome is an earlier ballot's."""

    TAG: ClassVar[int] = 7
    outcome: Outcome
    proof: tuple[Envelope[Ready], ...]


@dataclass(frozen=True, eq=False)
class Vote(Message):
    """Member to host: I hold every byte of this outcome."""

    TAG: ClassVar[int] = 8
    outcome: bytes


@dataclass(frozen=True, eq=False)
class Lack(Message):
    """Member to host: I would vote, but these spans are not here."""

    TAG: ClassVar[int] = 9
    SIGNED: ClassVar[bool] = False
    spans: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Commit(Message):
    """Anyone to anyone: an outcome and the quorum of votes that certifies it. `tip`: the sender's last round."""

    TAG: ClassVar[int] = 10
    SIGNED: ClassVar[bool] = False
    outcome: Outcome
    votes: tuple[Envelope[Vote], ...]
    tip: int


@dataclass(frozen=True, eq=False)
class Fetch(Message):
    """A question: `heads` of my log, newest first (answer: Commits), `digests` (Means), `spans` of `base` (Parts)."""

    TAG: ClassVar[int] = 11
    SIGNED: ClassVar[bool] = False
    heads: tuple[bytes, ...] = ()
    digests: tuple[bytes, ...] = ()
    spans: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Bye(Message):
    """Leaver to all: do not wait for me."""

    TAG: ClassVar[int] = 12


def encode(message: Message) -> bytes:
    """The canonical body: what is signed and digested."""
    told = values(message)
    if isinstance(message, Ready) and not message.invitation:
        told = told[:-1]  # an open run pays nothing for what it does not use
    return pack((message.TAG, *told))


def seal(message: Message, sign: Callable[[bytes], bytes]) -> Envelope:
    body = encode(message)
    return Envelope(message, body, sign(DOMAIN + body) if message.SIGNED else b"")
