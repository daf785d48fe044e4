"""Whatever others send, a peer goes on: `parse` refuses with MessageError, `step` never raises, and memory is bounded.

The messages are real ones of a few rounds, damaged inside and signed again, so that the damage reaches what lies behind
the signatures; they come from anybody, in any order, between the events of this peer's own adapter.
"""

from __future__ import annotations

import random
import tracemalloc
from functools import lru_cache, partial
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.averaging.round.context import Crypto, Self
from swarm.averaging.round.events import (
    Compute,
    Computed,
    Contribute,
    Due,
    Encode,
    Event,
    Heard,
    Held,
    Leave,
    Lost,
    Received,
    Restore,
    Restored,
    Tick,
)
from swarm.averaging.round.log import Log
from swarm.averaging.round.messages import DOMAIN, Commit, Envelope, MessageError, encode, pack, parse, seal
from swarm.averaging.round.peer import Peer
from swarm.averaging.round.policy import Policy
from swarm.averaging.simulation.world import tag
from tests.swarm.averaging.round.table import Table

NAMES = ("anna", "bela", "cleo", "dora")
VICTIM, AFTER = "anna", 2  # whose core is fed, and after which round
STRANGERS = tuple(f"stranger {number}" for number in range(40))
INPUTS = 40  # of an example
POLICY = Policy(spans=3, visitors=8, proofs=4, pledges=4, early_parts=16, branch_commits=4, said_bytes=20_000)
REASONS = {"size", "format", "shape", "kind", "signature", "canonical", "number", "type", "bytes", "peer"}
ODD: list[Any] = [0, 1, 2, 3, -1, 2**32, 2**53, 2**63, 2**64 - 1, 0.0, -0.0, 0.5, -1.0, 1e15, 1e300]
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


@lru_cache(1)
def recorded() -> tuple[list[Envelope], list[Commit]]:
    """What was said in the rounds before and after the victim's place, and the commits up to it."""
    table = Table(*NAMES, spans=POLICY.spans)
    table.start()
    table.until_round(AFTER + 2)
    seen: dict[bytes, Envelope] = {}
    for said in table.said:
        if said.message.at.round <= AFTER + 2:
            envelope = seal(said.message, partial(tag, said.message.at.peer))
            seen.setdefault(envelope.wire, envelope)
    commits = [entry.commit for entry in table.machines[VICTIM].core.log.chain[1 : AFTER + 1]]
    current = [e for e in seen.values() if e.message.at.round == AFTER + 1]
    return list(seen.values()) + 3 * current, [commit for commit in commits if commit is not None]


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
    return [data, tag(name if name in NAMES else "zed", DOMAIN + data)]


def wire(rng: random.Random) -> bytes:
    """A recorded message, as it was, damaged inside, damaged outside, or not one at all."""
    envelope = rng.choice(recorded()[0])
    kind = rng.randrange(10)
    if kind < 3:
        return envelope.wire
    if kind < 8:
        body = msgpack.unpackb(envelope.body)
        for _ in range(rng.randrange(1, 3)):
            body = damaged(rng, body)
        if envelope.signature:
            return pack(tuple(signed(body)))
        return pack((msgpack.packb(body), b""))
    data = bytearray(envelope.wire)
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(3)] = rng.choice((b"", b"\xdd\xff\xff\xff\xff", b"\xc1", rng.randbytes(2)))
    return bytes(data) if kind == 8 else rng.randbytes(rng.randrange(40))


class Victim:
    """A core in its place, and an adapter that answers what it asks as a real one does."""

    def __init__(self, rng: random.Random) -> None:
        envelopes, commits = recorded()
        incarnation = next(e.message.at.incarnation for e in envelopes if e.message.at.peer == VICTIM)
        crypto = Crypto(partial(tag, VICTIM), lambda peer, data, signature: signature == tag(peer, data))
        log = Log(Table(*NAMES, spans=POLICY.spans).genesis, POLICY)
        for commit in commits:
            log.offer(commit, lambda envelope: True)
        log.restored(log.tip.head)
        self.core = Peer(Self(VICTIM, incarnation), POLICY, crypto, log)
        self.rng, self.now, self.answers = rng, 1000.0, list[Event]()

    def step(self, event: Event) -> None:
        for effect in self.core.step(self.now, event):
            match effect:
                case Encode(base):
                    digests = tuple(self.rng.randbytes(32) for _ in range(POLICY.spans))
                    self.answers.append(Contribute(base, digests, (1.0,) * len(digests), 2.0, 2))
                case Compute(base, ballot, span):
                    self.answers.append(Computed(base, ballot, span, self.rng.randbytes(32)))
                case Restore(common):
                    self.answers.append(Restored(common))
        self.check()

    def anything(self, kind: int) -> None:
        rng = self.rng
        self.now += rng.choice((0.0, 0.0, 0.01, 0.1, 0.3, 5.0))
        names = (*NAMES, *STRANGERS)
        if kind < 8:
            data = wire(rng)
            envelope = parsed(data)
            honest, digest = rng.choice(names), None
            if isinstance(envelope, Envelope):
                honest, digest = envelope.message.at.peer, getattr(envelope.message, "digest", None)
            held = None
            if rng.random() < 0.6:
                held = Held(digest if isinstance(digest, bytes) and rng.random() < 0.9 else rng.randbytes(32), 1.0)
            self.step(Received(honest if rng.random() < 0.8 else rng.choice(names), data, held))
        elif self.answers and rng.random() < 0.7:
            self.step(self.answers.pop(0))
        else:
            heads = [e.message.at.base for e in recorded()[0]]
            known = [*self.core.log.index, rng.randbytes(32), rng.choice(heads)]
            due = Due(tuple(rng.sample(names, 3)), tuple(rng.sample(names, rng.randrange(2))))
            self.step(rng.choice((Tick(), due, Lost(rng.choice(names)), Heard(rng.choice(names), rng.choice(known)))))
            if rng.random() < 0.01:
                self.step(Leave())

    def check(self) -> None:
        """What others can make this peer remember."""
        core, context = self.core, self.core.context
        seats = len(core.log.tip.seats)
        assert len(context.visitors) <= POLICY.visitors
        assert len(context.outcomes) <= POLICY.proofs + 4
        assert sum(len(envelope.body) for envelope in context._said.values()) <= POLICY.said_bytes
        assert len(context.leaving) <= seats + len(context.expected) + POLICY.visitors + 3
        assert len(core.log.branches) <= POLICY.branch_commits
        assert len(core.pledges) <= POLICY.pledges
        assert len(core.catch_up.asked) <= 4 * POLICY.visitors + 1
        assert core.catch_up.wanted <= core.catch_up.asked.keys()
        assert all(len(reducer.parts) <= POLICY.early_parts for _, reducer in core.catch_up.open.values())
        assert sum(context.parts.values()) <= 4 * (POLICY.early_parts + POLICY.spans * 4)
        assert len(context.held) <= 64


def parsed(data: bytes) -> Envelope | str:
    """The message, or the reason why it is none."""
    try:
        return parse(data)
    except MessageError as error:
        return error.reason


def fuzz_parse(examples: int) -> tuple[int, int]:
    """Inputs, and how many of them were messages."""
    count = [0, 0]

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(st.integers(0, 2**32), min_size=INPUTS, max_size=INPUTS))
    def feed(seeds: list[int]) -> None:
        for seed in seeds:
            data = wire(random.Random(seed))
            count[0] += 1
            outcome = parsed(data)
            if isinstance(outcome, Envelope):
                count[1] += 1
                assert outcome.wire == data
                assert encode(outcome.message) == outcome.body
            else:
                assert outcome in REASONS

    feed()
    return count[0], count[1]


def fuzz_step(examples: int) -> int:
    steps = [0]

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.integers(0, 2**32), st.lists(st.integers(0, 11), min_size=INPUTS, max_size=INPUTS))
    def feed(seed: int, kinds: list[int]) -> None:
        victim = Victim(random.Random(seed))
        victim.step(Due(NAMES))
        for kind in kinds:
            victim.anything(kind)
            steps[0] += 1

    feed()
    return steps[0]


def test_thousands_of_damaged_messages_are_refused_or_are_messages() -> None:
    fed, messages = fuzz_parse(75)
    assert fed >= 3000
    assert fed / 20 < messages < fed / 2, "the damage should leave some messages whole"


def test_thousands_of_inputs_do_not_stop_a_peer() -> None:
    assert fuzz_step(75) >= 3000


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_inputs() -> None:
    assert fuzz_parse(2500)[0] >= 100_000
    assert fuzz_step(2500) >= 100_000


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdf" * 9]
)
def test_a_huge_count_takes_no_memory(head: bytes) -> None:
    """A count in front of nothing, alone and as the body of a message."""
    tracemalloc.start()
    try:
        for data in (head, pack((head, b"")), pack((b"\x92\x0a" + head, b""))):
            with pytest.raises(MessageError):
                parse(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
