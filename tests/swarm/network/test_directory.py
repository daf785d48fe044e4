"""What may be stored with a peer: one record a place, and not of more identities than it can hold."""

from __future__ import annotations

import time
from types import SimpleNamespace

import msgpack
import pytest
from hivemind.dht.validation import DHTRecord

from swarm.network import directory
from swarm.network.directory import Validator, place, place_id
from swarm.records import seal
from swarm.trust.identity import Identity

RUN = "ab" * 32


def record(who: Identity, seconds: float = 60.0, words: bytes = b"here") -> DHTRecord:
    expires = time.time() + seconds
    key = place(RUN, "progress")
    value = seal(who, key, msgpack.packb(words), expires)
    return DHTRecord(place_id(RUN, "progress"), msgpack.packb(who.peer_id), value, expires)


def test_records_of_ever_new_identities_are_refused_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_RECORDS", 3)
    monkeypatch.setattr(directory, "SWEEP_SECONDS", 0.0)
    now = [time.time()]
    monkeypatch.setattr(directory, "time", SimpleNamespace(time=lambda: now[0]))
    me, *others = (Identity.generate() for _ in range(5))
    validator = Validator(me, RUN)
    passing = -directory.CLOCK_SLACK_SECONDS + 0.3  # still counts for a moment, clocks differ
    assert validator.validate(record(others[0], passing))
    assert all(validator.validate(record(each)) for each in others[1:3])
    assert not validator.validate(record(others[3])), "one too many"
    assert validator.rejected == {"flood": 1}
    assert validator.validate(record(others[1], 70.0, b"still here")), "who was known is heard"
    assert validator.validate(record(me)), "our own record is never refused"
    now[0] += 0.5
    monkeypatch.setattr(directory, "MOST_RECORDS", 4)
    assert validator.validate(record(others[3])), "the first one has expired"
    assert len(validator.live) == 4
