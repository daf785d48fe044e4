"""A run of invited peers: nobody without the owner's word is in a round, also where a host would let him in."""

from __future__ import annotations

import pytest

from swarm.averaging.round.context import Crypto, Door
from swarm.averaging.round.messages import MAX_INVITATION, Ballot, Header, MessageError, Ready, Roster, pack
from swarm.averaging.round.reading import parse
from swarm.averaging.simulation.machine import Machine
from tests.swarm.averaging.round.table import FOUR, Table


class Invited(Table):
    """zoe has no invitation. Accomplices let in whoever comes; `revoked` are out for all others."""

    def __init__(self, *names: str, accomplices: tuple[str, ...] = ()) -> None:
        self.accomplices, self.revoked = accomplices, set[str]()
        super().__init__(*names, quorum_rule="two-thirds")

    def crypto(self, machine: Machine) -> Crypto:
        plain, mine = super().crypto(machine), machine.name
        friend = mine in self.accomplices

        def invited(peer: str, shown: bytes) -> bool:
            return friend or (peer != "zoe" and shown == card(peer))

        def shown() -> bytes:
            return b"" if mine == "zoe" else card(mine)

        return Crypto(plain.sign, plain.verify, Door(invited, lambda peer: friend or peer not in self.revoked, shown))

    def rosters(self, first: int, last: int) -> set[str]:
        return {name for number in range(first, last + 1) for name in self.outcome(number).roster}


def card(peer: str) -> bytes:
    return b"invited: " + peer.encode()


def test_who_is_not_invited_is_in_no_round_and_holds_up_none() -> None:
    table = Invited(*FOUR, "zoe")
    table.start()
    table.until_round(4, *FOUR)
    assert table.rosters(1, 4) == set(FOUR)
    assert any(said.sender == "zoe" and isinstance(said.message, Ready) for said in table.said), "it tried"
    assert not any(outcome.ballot.number for outcome in map(table.outcome, range(2, 5)))


def test_a_host_that_lets_a_friend_in_gets_no_votes_for_it() -> None:
    accomplice = "bela"
    table = Invited(*FOUR, "zoe", accomplices=(accomplice,))
    table.touch(0.0, 600.0, lambda a, b: accomplice in (a, b))
    table.start()
    let_in = set()

    def look(machine: Machine, to: str, message: object) -> bool:
        assert isinstance(message, Roster)
        if any(ready.message.at.peer == "zoe" for ready in message.readys):
            let_in.add(machine.name)
        return False

    for number in range(1, 20):
        table.on(Roster, number, look)
    table.until(lambda: table.counted("bad_roster") >= 3, limit=200)
    last = table.machines["anna"].core.log.tip.round
    table.until_round(last + 2, "anna", "cleo", "dora")
    assert let_in == {accomplice}
    assert "zoe" not in table.rosters(1, last + 2)


def test_who_is_revoked_is_out_in_the_round_after_the_next() -> None:
    table = Invited(*FOUR)
    table.start()
    table.until_round(2)
    assert "dora" in table.rosters(1, 2)
    met = max(machine.core.log.tip.round for machine in table.machines.values())
    table.revoked.add("dora")
    rest = [name for name in FOUR if name != "dora"]
    table.until_round(met + 4, *rest)
    assert "dora" not in table.rosters(met + 2, met + 4)
    assert not any(table.outcome(number).fork for number in range(2, met + 5)), "three of four are more than two thirds"


def test_in_an_open_run_nobody_shows_anything() -> None:
    table = Table(*FOUR)
    table.start()
    table.until_round(2)
    assert {said.message.invitation for said in table.said if isinstance(said.message, Ready)} == {b""}


def test_an_invitation_in_a_ready_has_one_form_and_a_bound() -> None:
    at = Header(bytes(32), bytes(32), 1, bytes(32), Ballot(0, "anna", 1), "anna", 1)

    def packed(*shown: bytes) -> bytes:
        body = pack((Ready.TAG, at, 1.0, 1, 0.0, True, bytes(32), b"", None, *shown))
        return pack((body, b"signature"))

    opened = parse(packed()).message
    assert isinstance(opened, Ready)
    assert opened.invitation == b""
    invited = parse(packed(b"x" * MAX_INVITATION)).message
    assert isinstance(invited, Ready)
    assert invited.invitation == b"x" * MAX_INVITATION
    for refused in (packed(b""), packed(b"x" * (MAX_INVITATION + 1)), packed(b"x", b"y")):
        with pytest.raises(MessageError):
            parse(refused)
