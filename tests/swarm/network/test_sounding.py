"""What a peer measures of others and lets others measure: real ways, real caps, and what a stranger may ask."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from swarm.network.allowance import Allowance
from swarm.network.caps import Caps
from swarm.network.reach import EACH_DIALS, MOST_PORTS, host_of
from swarm.network.sounding import EACH_BYTES, MOST_BYTES, WANTED
from swarm.network.streams import PeerError
from tests.swarm.network.conftest import Join


def hang_up(listener: socket.socket) -> None:
    """What a program that does not speak libp2p does with a caller."""
    connection, _ = listener.accept()
    connection.close()


real = [pytest.mark.real, pytest.mark.timeout(60)]


def test_an_allowance_is_each_and_in_all_and_comes_back() -> None:
    now = [0.0]
    allowance = Allowance(10, 15, 60.0, least=2, clock=lambda: now[0])
    assert allowance.take("a", 9)
    assert not allowance.take("a", 1), "the least is two"
    assert allowance.take("b", 6)
    assert not allowance.take("c", 1), "all is given"
    assert set(allowance.taken) <= {"a", "b", "c"}
    now[0] = 60.0
    assert allowance.take("a", 10)
    assert set(allowance.taken) == {"a"}


class TestSounding:
    pytestmark = real

    def test_the_speed_measured_is_the_speed_there_is(self, join: Join) -> None:
        """The other's caps are the line: 40 Mbit/s towards us, 16 from us."""
        other = join(caps=Caps(upload_mbit=40.0, download_mbit=16.0))
        way = join(other).measure(other.peer_id)
        assert way.download_mbit == pytest.approx(40.0, rel=0.25)
        assert way.upload_mbit == pytest.approx(16.0, rel=0.25)
        assert 0 < way.trip_seconds < 1
        assert abs(way.clock_seconds) < 0.5

    def test_a_stranger_cannot_ask_without_end(self, join: Join) -> None:
        other = join()
        me = join(other)
        big = WANTED.pack(MOST_BYTES)
        for _ in range(EACH_BYTES // MOST_BYTES - 1):
            me.call(other.peer_id, "sounding", big, limit_bytes=MOST_BYTES + 8)
        with pytest.raises(PeerError, match="asked too much"):
            me.call(other.peer_id, "sounding", big, limit_bytes=MOST_BYTES + 8)
        assert join(other).measure(other.peer_id).trip_seconds > 0, "others are not affected"

    @pytest.mark.parametrize("request_", [b"", b"\0\0\0", WANTED.pack(MOST_BYTES + 1), b"\xff" * 8])
    def test_malformed_questions_are_refused(self, join: Join, request_: bytes) -> None:
        other = join()
        with pytest.raises(PeerError) as caught:
            join(other).call(other.peer_id, "sounding", request_)
        assert caught.value.cause == "refused"


class TestReach:
    pytestmark = real

    def test_a_peer_that_listens_is_reached_and_a_closed_port_is_told(self, join: Join) -> None:
        other = join()
        me = join(other)
        with socket.socket() as closed, socket.socket() as stranger:
            closed.bind(("127.0.0.1", 0))
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            threading.Thread(target=hang_up, args=(stranger,), daemon=True).start()
            assert me.seen_by(other.peer_id).reached
            ports = [closed.getsockname()[1], stranger.getsockname()[1]]
            found = me.seen_by(other.peer_id, ports)
        assert not found.reached
        assert found.ports[ports[0]] == "connection refused"
        assert found.ports[ports[1]] is not None
        assert (found.seen, found.private) == ("127.0.0.1", True)

    def test_nobody_is_dialled_but_the_asker_and_not_often(self, join: Join) -> None:
        """The request has no room for an address, and the dials of one asker are counted."""
        other = join()
        me = join(other)
        for bad in (["/ip4/8.8.8.8/tcp/53"], [22], [], list(range(2000, 2001 + MOST_PORTS)), {"a": 1}, [True]):
            with pytest.raises(PeerError) as caught:
                me.call(other.peer_id, "reach", json.dumps(bad).encode())
            assert caught.value.cause == "refused"
        port = int(me.addresses()[0].split("/")[4])
        for _ in range(EACH_DIALS):
            me.seen_by(other.peer_id, [port])
        with pytest.raises(PeerError, match="too often"):
            me.seen_by(other.peer_id, [port])


def test_who_came_through_a_relay_has_no_address_to_dial() -> None:
    assert host_of("/ip4/203.0.113.7/tcp/4001") == "203.0.113.7"
    assert host_of("/ip4/203.0.113.7/tcp/4001/p2p/QmRelay/p2p-circuit") is None
    assert host_of("/unix/x") is None
