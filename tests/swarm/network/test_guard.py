"""The door of a run of invited peers, with real peers: who is let in, who is refused by name, what is heard of whom."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from swarm.network.guard import HANDLER, Guard, admit_only
from swarm.network.host import Network
from swarm.network.streams import PeerError, Streams
from swarm.network.traffic import Traffic
from swarm.records import ProgressRecord
from swarm.trust.admission import Admission
from swarm.trust.identity import Identity
from swarm.trust.invitation import invite, revoke
from swarm.trust.peer_id import public_key_of
from tests.swarm.network.conftest import RUN, Join

real = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(60)]
OWNER = Identity.generate()


def guarded(network: Network, *, invited: bool = True, serial: int = 1) -> Guard:
    guard = admit_only(network, Admission(RUN, OWNER.peer_id))
    if invited:
        guard.admission.invited(network.peer_id, card(network.peer_id, serial))
    return guard


def card(peer: str, serial: int = 1, seconds: int = 3_600) -> bytes:
    return invite(OWNER, RUN, peer, not_after=int(time.time()) + seconds, serial=serial).to_bytes()


async def echo(peer_id: str, request: bytearray) -> bytes:
    return bytes(request)


class TestDoor:
    pytestmark = real

    def test_only_invited_peers_are_served_and_each_refusal_has_its_word(self, join: Join) -> None:
        host = join()
        guest, stranger = join(host), join(host)
        door, theirs = guarded(host), guarded(guest)
        guarded(stranger, invited=False)
        host.handle("echo", echo, limit_bytes=8)
        host.handle("anyone", echo, limit_bytes=8, anyone=True)
        assert guest.call(host.peer_id, "echo", b"hello") == b"hello", "asked for its invitation when it came"
        with pytest.raises(PeerError, match="not_invited"):
            stranger.call(host.peer_id, "echo", b"hello")
        assert stranger.call(host.peer_id, "anyone", b"hello") == b"hello"

        ended = join(host)
        guard = guarded(ended, invited=False)
        guard.admission.invited(ended.peer_id, card(ended.peer_id, seconds=-3_600))
        with pytest.raises(PeerError, match="invitation_expired"):
            ended.call(host.peer_id, "echo", b"hello")

        key = public_key_of(guest.peer_id)
        assert key is not None
        assert door.admission.take(revoke(OWNER, RUN, {key: 1}, 2).data)
        with pytest.raises(PeerError, match="revoked"):
            guest.call(host.peer_id, "echo", b"hello")
        assert theirs.admission.refusal(guest.peer_id) is None
        assert guest.run(theirs.ask(host.peer_id)), "it hears so when it asks"
        assert theirs.admission.refusal(guest.peer_id) == "revoked"
        counted = host.rejected()
        assert (counted["not_invited"], counted["invitation_expired"], counted["revoked"]) == (1, 1, 1)

    def test_a_channel_that_is_open_already_ends_when_its_peer_is_revoked(self, join: Join) -> None:
        host = join()
        guest = join(host)
        door = guarded(host)
        guarded(guest)
        door.admission.invited(guest.peer_id, card(guest.peer_id))
        taken: list[bytes] = []

        async def take(peer_id: str, message: bytearray) -> None:
            taken.append(bytes(message))

        host.receive("words", take, limit_bytes=8)
        channel = guest.open(host.peer_id, "words")
        guest.run(channel.send(b"one"))
        deadline = time.monotonic() + 10
        while not taken and time.monotonic() < deadline:
            time.sleep(0.02)
        key = public_key_of(guest.peer_id)
        assert key is not None
        door.admission.take(revoke(OWNER, RUN, {key: 1}, 2).data)
        guest.run(channel.send(b"two"))
        guest.run(channel.ended(), 10.0)
        assert taken == [b"one"]

    def test_a_peer_gets_its_own_newer_invitation_and_the_newest_list(self, join: Join) -> None:
        host = join()
        guest = join(host)
        door, theirs = guarded(host), guarded(guest)
        newer = card(guest.peer_id, serial=9)
        door.admission.invited(guest.peer_id, newer)
        door.admission.take(revoke(OWNER, RUN, {}, 4).data)
        written: list[bytes] = []
        theirs.keep = written.append
        assert guest.run(theirs.ask(host.peer_id))
        assert theirs.admission.shown_by(guest.peer_id) == newer
        assert theirs.admission.revocations.serial == 4
        assert written == [door.admission.revocations.data]

    def test_what_a_liar_answers_changes_nothing(self, join: Join) -> None:
        liar = join()
        peer = join(liar)
        answers = [
            b"",
            b"\xc1",
            b"\x93\x01\x02\x03",
            b"\x92\xc4\x00\xc4\x00",
            b"\x93" + 3 * b"\xc4\x02ab",
            b"\x81\x01\x02",
        ]
        left = list(answers)

        async def lie(peer_id: str, request: bytearray) -> bytes:
            return left.pop()

        liar.handle(HANDLER, lie, limit_bytes=64)
        guard = guarded(peer)
        before = (dict(guard.admission.invitations), guard.admission.revocations)
        for _ in answers:
            peer.run(guard.hear(liar.peer_id))
            assert guard.asked[liar.peer_id] > time.monotonic() + 60, "it says that it knows more, and does not"
        assert not left
        assert (guard.admission.invitations, guard.admission.revocations) == before


def test_records_of_who_is_not_invited_are_left_out_and_counted() -> None:
    counted: Counter[str] = Counter()
    guard = Guard(
        "me", Admission(RUN, OWNER.peer_id), Streams(RUN, Traffic()), reject=lambda why: counted.update([why])
    )
    known, unknown, thief = (Identity.generate().peer_id for _ in range(3))

    def record(shown: bytes | None, serial: int = 0) -> ProgressRecord:
        told = shown.hex() if shown is not None else None
        return ProgressRecord(
            step=1, state="training", role="trainer", version="1", invitation=told, revocations=serial
        )

    records = {known: record(card(known), 7), unknown: record(None, 8), thief: record(card(known), 9)}
    found = guard.admitted(records)
    assert found.keys() == {known}
    assert counted == {"not_invited": 2}
    assert guard.better_informed(found) == [known], "strangers are not asked for anything"
    assert guard.better_informed(found) == [], "nor anybody twice at once"
