"""Invitations and revocations: only what the owner signed, for this run and this peer, in time, counts."""

from __future__ import annotations

import random

import pytest

from swarm.trust.admission import SLACK_SECONDS, Admission
from swarm.trust.identity import Identity
from swarm.trust.invitation import (
    INVITATION_BYTES,
    MAX_REVOCATIONS_BYTES,
    MAX_REVOKED,
    Invitation,
    invite,
    read_invitation,
    read_revocations,
    revoke,
)
from swarm.trust.peer_id import public_key_of

OWNER, GUEST, OTHER = Identity.generate(), Identity.generate(), Identity.generate()
RUN, ELSEWHERE = "ab" * 32, "cd" * 32


def made(until: int = 2_000, serial: int = 1, *, peer: Identity = GUEST, run: str = RUN, by: Identity = OWNER) -> bytes:
    return invite(by, run, peer.peer_id, not_after=until, serial=serial).to_bytes()


def read(data: bytes, peer: Identity = GUEST) -> Invitation | None:
    return read_invitation(data, RUN, OWNER.peer_id, peer.peer_id)


def voided(*peers: Identity, upto: int = 1) -> dict[bytes, int]:
    return {key: upto for peer in peers if (key := public_key_of(peer.peer_id)) is not None}


class Clock:
    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def admission(clock: Clock) -> Admission:
    return Admission(RUN, OWNER.peer_id, clock)


def test_an_invitation_is_read_as_it_was_made() -> None:
    assert len(made()) == INVITATION_BYTES == 80
    found = read(made(2_000, 7))
    assert found is not None
    assert (found.not_after, found.serial) == (2_000, 7)
    assert found.to_bytes() == made(2_000, 7)


@pytest.mark.parametrize(
    "data",
    [
        made(by=OTHER),
        made(by=GUEST),
        made(run=ELSEWHERE),
        made(peer=OTHER),
        made()[:-1],
        made() + b"\0",
        b"",
        b"\0" * INVITATION_BYTES,
        b"\xff" * INVITATION_BYTES,
        (3_000).to_bytes(8, "big") + made()[8:],
    ],
    ids=["by another", "by itself", "other run", "other peer", "short", "long", "none", "zeros", "ones", "later"],
)
def test_anything_else_is_none(data: bytes) -> None:
    assert read(data) is None


def test_no_bit_of_an_invitation_can_be_changed() -> None:
    whole = made()
    for bit in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        assert read(bytes(changed)) is None


def test_it_holds_until_its_end_and_as_long_as_clocks_may_differ() -> None:
    clock = Clock()
    door = admission(clock)
    assert door.refusal(GUEST.peer_id) == "not_invited"
    assert door.invited(GUEST.peer_id, made(until=2_000))
    clock.now = 2_000 + SLACK_SECONDS
    assert door.refusal(GUEST.peer_id) is None
    clock.now += 1
    assert door.refusal(GUEST.peer_id) == "invitation_expired"
    assert door.tolerable(GUEST.peer_id), "in the roster of a host whose clock is behind"
    clock.now = 2_000 + 2 * SLACK_SECONDS + 1
    assert not door.tolerable(GUEST.peer_id)
    assert door.invited(GUEST.peer_id, made(until=2_000)), "its signature is good for ever: the log depends on it"


def test_the_newest_invitation_counts_and_an_old_one_shown_again_changes_nothing() -> None:
    door = admission(Clock(5_000))
    old, new = made(until=2_000, serial=1), made(until=9_000, serial=2)
    assert door.invited(GUEST.peer_id, new)
    assert door.invited(GUEST.peer_id, old)
    assert door.shown_by(GUEST.peer_id) == new
    assert door.refusal(GUEST.peer_id) is None
    assert not door.invited(OTHER.peer_id, new), "another's"


def test_a_revoked_peer_is_out_until_it_is_invited_again() -> None:
    clock = Clock()
    door = admission(clock)
    door.invited(GUEST.peer_id, made(serial=5))
    assert door.take(revoke(OWNER, RUN, voided(GUEST, upto=6), 6).data)
    assert door.refusal(GUEST.peer_id) == "revoked"
    assert door.tolerable(GUEST.peer_id), "hosts may not have heard yet"
    clock.now += SLACK_SECONDS
    assert not door.tolerable(GUEST.peer_id)
    door.invited(GUEST.peer_id, made(serial=6))
    assert door.refusal(GUEST.peer_id) == "revoked"
    door.invited(GUEST.peer_id, made(serial=7, until=9_000))
    assert door.refusal(GUEST.peer_id) is None


def test_an_older_list_never_takes_the_place_of_a_newer_one() -> None:
    door = admission(Clock())
    first, second = revoke(OWNER, RUN, voided(GUEST), 1), revoke(OWNER, RUN, {}, 2)
    assert door.take(second.data)
    assert not door.take(first.data)
    assert not door.take(second.data)
    assert door.revocations.serial == 2


def test_lists_that_are_not_the_owners_or_have_another_form_are_none() -> None:
    good = revoke(OWNER, RUN, voided(GUEST, OTHER), 3).data
    assert read_revocations(good, RUN, OWNER.peer_id) is not None
    assert read_revocations(good, ELSEWHERE, OWNER.peer_id) is None
    assert read_revocations(good, RUN, OTHER.peer_id) is None
    for data in (good[:-1], good + b"\0", b"", b"\0" * 74, revoke(GUEST, RUN, {}, 3).data):
        assert read_revocations(data, RUN, OWNER.peer_id) is None
    chance = random.Random(3)
    for _ in range(60):
        changed = bytearray(good)
        changed[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        assert read_revocations(bytes(changed), RUN, OWNER.peer_id) is None


def test_the_longest_list_fits_and_a_longer_one_is_never_read() -> None:
    many = {index.to_bytes(32, "big"): 1 for index in range(MAX_REVOKED)}
    whole = revoke(OWNER, RUN, many, 1).data
    assert len(whole) == MAX_REVOCATIONS_BYTES
    assert read_revocations(whole, RUN, OWNER.peer_id) is not None
    assert read_revocations(whole + b"\0" * 40, RUN, OWNER.peer_id) is None
