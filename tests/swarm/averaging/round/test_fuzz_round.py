"""Whatever others send, a peer goes on: `parse` refuses with MessageError, `step` never raises, and memory is bounded.

The messages are real ones of a few rounds, damaged inside and signed again, so that the damage reaches what lies behind
the signatures; they come from anybody, in any order, between the events of this peer's own adapter.
"""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.averaging.round.context import Crypto, Self
from swarm.averaging.round.events import (
    Compute,
    Computed,
    Contribute,
    Count,
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
from swarm.averaging.round.messages import (
    Ballot,
    Bye,
    Call,
    Envelope,
    Fetch,
    Mean,
    MessageError,
    Part,
    encode,
    pack,
    seal,
)
from swarm.averaging.round.peer import Peer
from swarm.averaging.round.reading import parse
from swarm.averaging.simulation.world import tag
from tests.swarm.averaging.round.damage import NAMES, POLICY, STRANGERS, harmed, parsed, recorded
from tests.swarm.averaging.round.table import Table

INPUTS = 40  # of an example
REASONS = {"size", "format", "shape", "kind", "signature", "canonical", "number", "type", "bytes", "peer"}


class Victim:
    """A core in the place of one of the peers, and an adapter that answers what it asks as a real one does."""

    def __init__(self, rng: random.Random) -> None:
        self.record, self.name = recorded(), rng.choice(NAMES)
        crypto = Crypto(partial(tag, self.name), lambda peer, data, signature: signature == tag(peer, data))
        log = Log(Table(*NAMES, spans=POLICY.spans).genesis, POLICY)
        for commit in self.record.commits:
            log.offer(commit, lambda envelope: True)
        log.restored(log.tip.head)
        self.core = Peer(Self(self.name, self.record.incarnations[self.name]), POLICY, crypto, log)
        self.rng, self.now, self.answers = rng, 1000.0, list[Event]()
        self.place = 0  # in what this peer was told when nothing went wrong
        self.seen: Counter[str] = Counter()  # what was reached

    def step(self, event: Event) -> None:
        for effect in self.core.step(self.now, event):
            self.seen[type(effect).__name__] += 1
            match effect:
                case Encode(base):
                    digests = self.record.given.get((base, self.name), (bytes(32),) * POLICY.spans)
                    self.answers.append(Contribute(base, digests, (1.0,) * len(digests), 2.0, 2))
                case Compute(base, ballot, span):
                    digest = self.record.means.get((base, span, self.name), bytes(32))
                    self.answers.append(Computed(base, ballot, span, digest))
                case Restore(common):
                    self.answers.append(Restored(common))
                case Count(name):
                    self.seen[name] += 1
        self.check()

    def receive(self, data: bytes, *, honest: bool) -> None:
        """`honest`: from whom it names, with the payload that it names."""
        rng, envelope = self.rng, parsed(data)
        sender, held = rng.choice((*NAMES, *STRANGERS)), None
        if isinstance(envelope, Envelope):
            assert encode(envelope.message) == envelope.body, "equal messages have equal digests"
            digest = envelope.message.digest if isinstance(envelope.message, Part | Mean) else None
            sender = envelope.message.at.peer if honest or rng.random() < 0.9 else sender
            held = Held(digest, 1.0) if digest is not None and (honest or rng.random() < 0.8) else None
        if not honest and rng.random() < 0.1:
            held = Held(rng.randbytes(32), rng.choice((0.0, 1.0, 1e30)))
        self.step(Received(sender, data, held))

    def anything(self, kind: int) -> None:
        rng, told = self.rng, self.record.told[self.name]
        self.now += rng.choice((0.0, 0.0, 0.01, 0.01, 0.1, 5.0 * (rng.random() < 0.1)))
        while self.answers and rng.random() < 0.8:
            self.step(self.answers.pop(0))
        if kind < 6 and self.place < len(told):
            self.place += 1
            self.receive(told[self.place - 1].wire, honest=True)
        elif kind < 11:
            near, record = told[max(0, self.place - 8) : self.place + 8], self.record
            source = rng.choice((near, near, near, record.everything, record.questions))
            self.receive(harmed(rng, rng.choice(source or record.everything)), honest=False)
        else:
            self.step(self.hint())

    def hint(self) -> Event:
        """What an adapter tells by itself."""
        rng, names = self.rng, (*NAMES, *STRANGERS)
        heads = [*self.core.log.index, rng.randbytes(32), rng.choice(self.record.everything).message.at.base]
        due = Due(tuple(rng.sample(names, 3)), tuple(rng.sample(names, rng.randrange(2))))
        last = Leave() if rng.random() < 0.05 else Tick()
        return rng.choice((last, due, Lost(rng.choice(names)), Heard(rng.choice(names), rng.choice(heads))))

    def check(self) -> None:
        """What others can make this peer remember."""
        core, context = self.core, self.core.context
        seats = len(core.log.tip.seats)
        assert len(context.visitors) <= POLICY.visitors
        assert len(context.outcomes) <= POLICY.proofs + 4
        assert sum(len(envelope.body) for envelope in context._said.values()) <= POLICY.said_bytes
        assert len(context.leaving) <= len(NAMES) + len(STRANGERS)
        assert len(context.farewells) <= len(NAMES) + len(STRANGERS)
        assert len(core.log.branches) <= POLICY.branch_commits
        assert len(core.pledges.kept) <= POLICY.pledges
        assert len(core.catch_up.asked) <= 4 * POLICY.visitors + seats
        assert core.catch_up.wanted.keys() <= core.catch_up.asked.keys()
        assert all(len(reducer.parts) <= POLICY.early_parts for _, reducer in core.catch_up.open.values())
        assert sum(context.parts.values()) <= 4 * (POLICY.early_parts + POLICY.spans * 4)
        assert len(context.held) <= 64


def fuzz_parse(examples: int) -> tuple[int, int]:
    """Inputs, and how many of them were messages."""
    count = [0, 0]

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.lists(st.integers(0, 2**32), min_size=INPUTS, max_size=INPUTS))
    def feed(seeds: list[int]) -> None:
        for seed in seeds:
            rng = random.Random(seed)
            data = harmed(rng, rng.choice(recorded().everything))
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


def fuzz_step(examples: int) -> Counter[str]:
    """What was reached, and how often."""
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.integers(0, 2**32), st.lists(st.integers(0, 11), min_size=INPUTS, max_size=INPUTS))
    def feed(seed: int, kinds: list[int]) -> None:
        victim = Victim(random.Random(seed))
        victim.step(Due(NAMES))
        for kind in kinds:
            victim.anything(kind)
            seen["inputs"] += 1
        seen.update(victim.seen)

    feed()
    return seen


def test_thousands_of_damaged_messages_are_refused_or_are_messages() -> None:
    fed, messages = fuzz_parse(75)
    assert fed >= 3000
    assert fed / 20 < messages < fed / 1.5, "the damage should leave some messages whole"


def test_thousands_of_inputs_do_not_stop_a_peer() -> None:
    seen = fuzz_step(75)
    assert seen["inputs"] >= 3000
    reached = {"Compute", "Apply", "Settle", "Proof", "foreign_part", "bad_mean", "stale"}
    assert reached <= seen.keys(), f"never reached: {reached - seen.keys()}"


def test_a_crowd_of_strangers_takes_no_memory() -> None:
    """Each asks, knocks, calls a round of its own, sends a part and a mean, or says goodbye; all limits are reached."""
    victim = Victim(random.Random(0))
    core = victim.core
    for number in range(200):
        name, digest = f"stranger {number}", number.to_bytes(32, "big")
        header = victim.record.told[victim.name][0].message.at
        at = header._replace(peer=name, incarnation=number, ballot=Ballot(number, name, number))
        part, mean = Part(at, number % POLICY.spans, digest, ()), Mean(at, 0, digest)
        for message in (Fetch(at, (digest,)), Call(at), part, mean, *([Bye(at)] if number < 100 else [])):
            held = Held(digest, 1.0) if isinstance(message, Part | Mean) else None
            victim.step(Received(name, seal(message, partial(tag, name)).wire, held))
    assert len(core.context.visitors) == POLICY.visitors
    assert len(core.reducer.parts) == POLICY.early_parts
    assert len(core.catch_up.asked) >= 4 * POLICY.visitors
    assert victim.seen["crowded"] > 0
    assert victim.seen["surplus_part"] > 0
    assert not {name for name in (*core.context.leaving, *core.context.farewells) if name.startswith("stranger")}
    assert not core.context.held.keys() & {number.to_bytes(32, "big") for number in range(200)}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_inputs() -> None:
    assert fuzz_parse(2500)[0] >= 100_000
    assert fuzz_step(2500)["inputs"] >= 100_000


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
