"""Real messages of a few rounds, and what can be done to them before somebody gets to read them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgpack

from swarm.averaging.round.messages import (
    DOMAIN,
    Bye,
    Commit,
    Envelope,
    Fetch,
    Lack,
    Message,
    MessageError,
    Propose,
    pack,
    seal,
)
from swarm.averaging.round.policy import Policy
from swarm.averaging.round.reading import parse
from swarm.averaging.simulation.world import tag
from tests.swarm.averaging.round.table import Table

NAMES = ("anna", "bela", "cleo", "dora")
AFTER = 2  # the round after which a peer is taken over
STRANGERS = tuple(f"stranger {number}" for number in range(40))
POLICY = Policy(spans=3, visitors=8, proofs=4, pledges=4, early_parts=9, branch_commits=4, said_bytes=20_000)
ODD: list[Any] = [0, 1, 2, 3, 9, 1023, 65535, -1, 2**32, 2**53, 2**63, 2**64 - 1, 0.0, -0.0, 0.5, -1.0, 1e15, 1e300]
ODD += [
    float("inf"),
    float("nan"),
    b"",
    bytes(32),
    b"\xff" * 32,
    b"\xff",
    bytes(200),
    "",
    "anna",
    "zed",
    "ü",
    "x" * 200,
]
ODD += [None, True, False, [], [[]], [0] * 70, [bytes(32)] * 65, {}, {"a": 1}]


@dataclass
class Record:
    """Some rounds without a fault: who was told what, in order, and what each peer gave and averaged."""

    told: dict[str, list[Envelope]]
    everything: list[Envelope]
    questions: list[Envelope]  # that nobody had to ask
    commits: list[Commit]
    incarnations: dict[str, int]
    given: dict[tuple[bytes, str], tuple[bytes, ...]]
    means: dict[tuple[bytes, int, str], bytes]


@lru_cache(1)
def recorded() -> Record:
    table = Table(*NAMES, spans=POLICY.spans)
    table.start()
    table.until_round(AFTER + 3)
    told: dict[str, list[Envelope]] = {name: [] for name in NAMES}
    for said in table.said:
        if said.message.at.round > AFTER:
            told[said.to].append(seal(said.message, partial(tag, said.message.at.peer)))
    chain = table.machines[NAMES[0]].core.log.chain[1 : AFTER + 1]
    return Record(
        told,
        [envelope for envelopes in told.values() for envelope in envelopes],
        [question for envelopes in told.values() for envelope in envelopes for question in questions(envelope.message)],
        [entry.commit for entry in chain if entry.commit is not None],
        {name: machine.incarnation for name, machine in table.machines.items()},
        {(base, name): gift.digests() for (base, name, _), gift in table.checks.ledger.given.items()},
        {(key[0], key[2], key[3]): mean for key, by in table.checks.means.items() for _, mean in by.values()},
    )


def questions(message: Message) -> list[Envelope]:
    """Its sender asks for everything there is, and says goodbye."""
    at, spans = message.at, tuple(range(POLICY.spans))
    digests = tuple(span.digest for span in message.outcome.spans) if isinstance(message, Propose) else ()
    asked = [Lack(at, spans), Fetch(at, (at.base,), digests, spans), Bye(at)]
    return [seal(question, partial(tag, at.peer)) for question in asked]


def opened(value: Any) -> Any:
    """The body of an envelope, if `value` is one."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(item, bytes) for item in value):
        return None
    try:
        return msgpack.unpackb(value[0], max_ext_len=0)
    except (ValueError, msgpack.exceptions.UnpackException):
        return None


def damaged(rng: random.Random, value: Any) -> Any:
    """Something in `value` changed, at any depth; a message within a message is signed again."""
    body = opened(value)
    if isinstance(body, list) and body:
        return signed(damaged(rng, body))
    if isinstance(value, list) and value and rng.random() < 0.85:
        result, place = list(value), rng.randrange(len(value))
        match rng.randrange(8):
            case 0:
                del result[place]
            case 1:
                result.insert(place, result[place])
            case 2:
                result[place], result[0] = result[0], result[place]
            case _:
                result[place] = damaged(rng, result[place])
        return result
    if isinstance(value, bytes) and value and rng.random() < 0.5:
        return value[:-1] + bytes([value[-1] ^ 1])
    if type(value) is int and rng.random() < 0.5:
        return (value + rng.choice((-1, 1))) % 2**64
    alike = [odd for odd in ODD if type(odd) is type(value)]
    return rng.choice(alike if alike and rng.random() < 0.7 else ODD)


def signed(body: Any) -> list[bytes]:
    """A body as an envelope, signed by the peer that it names in its header if it still does."""
    data = msgpack.packb(body)
    header = body[1] if isinstance(body, list) and len(body) > 1 else None
    name = header[5] if isinstance(header, list) and len(header) > 5 else None
    return [data, tag(name if isinstance(name, str) and 0 < len(name.encode()) <= 64 else "zed", DOMAIN + data)]


def harmed(rng: random.Random, envelope: Envelope) -> bytes:
    """This message damaged inside, as another's, damaged outside, or something that is no message."""
    kind, body = rng.randrange(10), msgpack.unpackb(envelope.body)
    if kind < 6:
        for _ in range(rng.randrange(1, 3)):
            place = rng.randrange(2, len(body)) if len(body) > 2 and rng.random() < 0.8 else rng.randrange(len(body))
            body[place] = damaged(rng, body[place])
    elif kind < 8:
        body[1][5] = rng.choice((*NAMES, *STRANGERS))
        body[1][4][1] = rng.choice((body[1][4][1], body[1][5]))
    else:
        data = bytearray(envelope.wire)
        for _ in range(rng.randrange(1, 4)):
            start = rng.randrange(len(data))
            data[start : start + rng.randrange(3)] = rng.choice((b"", b"\xdd" + b"\xff" * 4, b"\xc1", rng.randbytes(2)))
        return bytes(data) if kind == 8 else rng.randbytes(rng.randrange(40))
    return pack(tuple(signed(body))) if envelope.signature else pack((msgpack.packb(body), b""))


def parsed(data: bytes) -> Envelope | str:
    """The message, or the reason why it is none."""
    try:
        return parse(data)
    except MessageError as error:
        return error.reason
