"""Reading messages: arbitrary bytes in, a checked message or MessageError out, and nothing else.

Every count and size is checked before anything is built, and a body that is not the one canonical form is refused, so
that equal messages have equal digests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgpack

from swarm.averaging.round.messages import (
    DIGEST,
    MAX_BYTES,
    MAX_INVITATION,
    MAX_ITEMS,
    MAX_PEERS,
    MAX_REAL,
    MAX_SPANS,
    MAX_STATE,
    Ballot,
    Bye,
    Call,
    Commit,
    Envelope,
    Fetch,
    Header,
    Lack,
    LastVote,
    Mean,
    Message,
    MessageError,
    Outcome,
    Part,
    Propose,
    Ready,
    Reduced,
    Roster,
    SpanOutcome,
    Vote,
)

Decoder = Callable[[Any], Any]
KEPT = 256  # envelopes within others: a Ready comes in a Roster, in a Propose and in a Commit


def _refuse(reason: str) -> Any:
    raise MessageError(reason)


def _whole(limit: int) -> Decoder:
    return lambda v: v if type(v) is int and 0 <= v <= limit else _refuse("number")


def _real(v: Any) -> float:
    return v if type(v) is float and math.isfinite(v) and 0.0 <= v <= MAX_REAL else _refuse("number")


def _truth(v: Any) -> bool:
    return v if type(v) is bool else _refuse("type")


def _exactly(size: int) -> Decoder:
    return lambda v: v if type(v) is bytes and len(v) == size else _refuse("bytes")


def _upto(limit: int) -> Decoder:
    return lambda v: v if type(v) is bytes and len(v) <= limit else _refuse("bytes")


def _invitation(v: Any) -> bytes:
    """None is told by one field less: there is one form for each message."""
    return v if type(v) is bytes and 0 < len(v) <= MAX_INVITATION else _refuse("bytes")


def _digest_or_nothing(v: Any) -> bytes:
    return v if type(v) is bytes and len(v) in (0, DIGEST) else _refuse("bytes")


def _peer(v: Any) -> str:
    return v if type(v) is str and 0 < len(v) <= 128 and v.isascii() else _refuse("peer")


def _row(make: Callable[..., Any], *decoders: Decoder) -> Decoder:
    def read(v: Any) -> Any:
        if type(v) is not list or len(v) != len(decoders):
            raise MessageError("shape")
        return make(*[decode(item) for decode, item in zip(decoders, v, strict=True)])

    return read


def _many(decode: Decoder, limit: int) -> Decoder:
    def read(v: Any) -> Any:
        if type(v) is not list or len(v) > limit:
            raise MessageError("shape")
        return tuple([decode(item) for item in v])

    return read


def _maybe(decode: Decoder) -> Decoder:
    return lambda v: None if v is None else decode(v)


def _sealed(kind: type[Message]) -> Decoder:
    def read(v: Any) -> Envelope:
        if type(v) is not list or len(v) != 2 or type(v[0]) is not bytes or type(v[1]) is not bytes:
            raise MessageError("shape")
        envelope = _opened(v[0], v[1])
        return envelope if type(envelope.message) is kind else _refuse("kind")

    return read


_digest = _exactly(DIGEST)
_counter = _whole(2**53)
_word = _whole(2**64 - 1)
_index = _whole(MAX_PEERS - 1)
_span = _whole(MAX_SPANS - 1)
_bitmap = _upto(MAX_PEERS // 8)
_ballot = _row(Ballot, _whole(2**32 - 1), _peer, _word)
_header = _row(Header, _digest, _digest, _counter, _digest, _ballot, _peer, _word)
_readys = _many(_sealed(Ready), MAX_PEERS)
_spans = _many(_row(SpanOutcome, _digest_or_nothing, _index, _bitmap), MAX_SPANS)
_outcome = _row(Outcome, _digest, _digest, _counter, _digest, _ballot, _truth, _readys, _spans)
_last_vote = _maybe(_row(LastVote, _ballot, _digest))

_FIELDS: dict[type[Message], tuple[Decoder, ...]] = {
    Call: (),
    Ready: (_real, _counter, _real, _truth, _digest, _upto(MAX_STATE), _last_vote),
    Roster: (_whole(1), _readys, _many(_index, MAX_SPANS), _real),
    Part: (_span, _digest, _many(_digest, 16)),
    Mean: (_span, _digest),
    Reduced: (_span, _digest_or_nothing, _bitmap),
    Propose: (_outcome, _readys),
    Vote: (_digest,),
    Lack: (_many(_span, MAX_ITEMS),),
    Commit: (_outcome, _many(_sealed(Vote), MAX_PEERS), _counter),
    Fetch: (_many(_digest, MAX_ITEMS), _many(_digest, MAX_ITEMS), _many(_span, MAX_ITEMS)),
    Bye: (),
}
_KINDS: dict[int, tuple[type[Message], Decoder]] = {
    kind.TAG: (kind, _row(kind, _header, *decoders)) for kind, decoders in _FIELDS.items()
}
_open_ready, _invited_ready = (_row(Ready, _header, *_FIELDS[Ready], *more) for more in ((), (_invitation,)))
_KINDS[Ready.TAG] = (Ready, lambda v: _invited_ready(v) if len(v) == len(_FIELDS[Ready]) + 2 else _open_ready(v))


def _unpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, max_ext_len=0, max_map_len=0, max_array_len=MAX_SPANS, max_str_len=256)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException):
        raise MessageError("format") from None


def _open(body: bytes, signature: bytes) -> Envelope:
    values = _unpack(body)
    if type(values) is not list or len(values) < 2 or type(values[0]) is not int or values[0] not in _KINDS:
        raise MessageError("kind")
    kind, read = _KINDS[values[0]]
    if len(signature) > 256 or bool(signature) != kind.SIGNED:
        raise MessageError("signature")
    message = read(values[1:])
    if msgpack.packb(values) != body:
        raise MessageError("canonical")
    return Envelope(message, body, signature)


_opened = lru_cache(KEPT)(_open)


def parse(data: bytes) -> Envelope:
    """The message in `data`, with its signature not yet verified. Raises MessageError and nothing else."""
    if len(data) > MAX_BYTES:
        raise MessageError("size")
    outer = _unpack(data)
    if type(outer) is not list or len(outer) != 2 or type(outer[0]) is not bytes or type(outer[1]) is not bytes:
        raise MessageError("shape")
    envelope = _open(outer[0], outer[1])
    if envelope.wire != data:
        raise MessageError("canonical")
    return envelope
