"""A daemon that is killed: started again on the same port, with the same handlers, known to the others."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from swarm.errors import NetworkError
from tests.swarm.network.conftest import Join
from tests.swarm.network.test_streams import echo, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


def test_a_daemon_that_was_killed_comes_back_with_its_port_its_handlers_and_its_records(join: Join) -> None:
    first = join()
    second = join(first, revivals=3)
    second.handle("echo", echo, limit_bytes=100)
    before = second.addresses()
    os.kill(second.daemon_pid, signal.SIGKILL)
    assert until(lambda: second.revived == 1)
    assert second.addresses() == before
    assert second.failure is None
    assert second.publish("progress", b"here again", 60)
    assert first.peer_id in second.connected()
    first.meet(before)
    assert first.call(second.peer_id, "echo", b"you") == b"you"
    assert [record.payload for record in first.read("progress")] == [b"here again"]


def test_it_comes_back_also_when_its_seed_is_gone(join: Join) -> None:
    first = join()
    second = join(first, revivals=3)
    third = join(first, second)
    second.meet(third.addresses())
    first.close()
    os.kill(second.daemon_pid, signal.SIGKILL)
    assert until(lambda: second.revived == 1)
    assert until(lambda: third.peer_id in second.connected())


def test_a_peer_that_cannot_be_revived_says_so_once(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    heard = threading.Event()

    def hear(reason: str) -> None:
        told.append(reason)
        heard.set()

    network = join(revivals=2, on_death=hear)
    monkeypatch.setattr("swarm.network.engine.FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr("swarm.network.daemon._arguments", lambda *_: ["/bin/false"])
    os.kill(network.daemon_pid, signal.SIGKILL)
    assert heard.wait(10)
    assert len(told) == 1
    assert "could not be started again" in told[0]
    with pytest.raises(NetworkError, match="killed by signal 9"):
        network.connected()
    began = time.monotonic()
    network.close()
    assert time.monotonic() - began < 2


def test_peers_that_cannot_be_met_are_named_with_their_cause(join: Join) -> None:
    first, second = join(), join()
    address = second.addresses()[0]
    second.close()
    causes = first.meet([address])
    assert causes == {address: "connection refused"}
