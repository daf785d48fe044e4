"""What the prober dials and what not: strangers choose the addresses, so none may make us scan somebody's home."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from pretend_swarm import Pretend

from monitoring import prober
from monitoring.monitor_exporter import MonitorExporter
from monitoring.outside import AGAIN_SECONDS, EVERY_SECONDS, Outside
from monitoring.prober_client import Prober, Result, parse
from swarm.network.host import Network
from swarm.trust.identity import Identity
from tests.peers.swarm_demo import wait_until

PEER = Identity.generate().peer_id
INSIDE = ["127.0.0.1", "10.0.0.7", "192.168.1.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
INSIDE_6 = ["::1", "fe80::1", "fc00::7", "::ffff:127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [f"/ip4/{host}/tcp/4001/p2p/{PEER}" for host in INSIDE] + [f"/ip6/{host}/tcp/4001/p2p/{PEER}" for host in INSIDE_6],
    ids=[*INSIDE, *INSIDE_6],  # the peer is another one in each process
)
def test_private_and_loopback_addresses_are_not_dialled(address: str) -> None:
    assert prober.reason_to_skip(address, private=False)


def test_public_ones_are_and_with_private_our_own_too() -> None:
    assert prober.reason_to_skip(f"/ip4/8.8.8.8/tcp/4001/p2p/{PEER}", private=False) is None
    assert prober.reason_to_skip(f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}", private=True) is None


def test_a_name_that_points_inside_is_not_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        told = {"home.example": ["8.8.8.8", "192.168.1.1"], "away.example": ["8.8.8.8"]}[host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in told]

    monkeypatch.setattr(prober.socket, "getaddrinfo", resolve)
    assert prober.reason_to_skip(f"/dns4/home.example/tcp/4001/p2p/{PEER}", private=False)
    assert prober.reason_to_skip(f"/dns4/away.example/tcp/4001/p2p/{PEER}", private=False) is None


@pytest.mark.parametrize("text", ["nonsense", "/ip4/8.8.8.8/tcp/4001", "/unix/etc/passwd", "/ip4/8.8.8.8/udp/1/quic"])
def test_what_is_no_address_of_a_peer_is_not_dialled(text: str) -> None:
    assert prober.reason_to_skip(text, private=True)


@pytest.mark.parametrize("line", ["", "{}", "[1]", "null", '{"result": "owned"}', '{"result": "reachable"}', "x" * 50])
def test_what_the_prober_does_not_say_is_left_out(line: str) -> None:
    assert parse(line) is None


@pytest.mark.real
@pytest.mark.timeout(60)
def test_the_rate_is_bounded_and_strangers_at_home_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as home:
        home.settimeout(0.2)
        address = f"/ip4/127.0.0.1/tcp/{home.getsockname()[1]}/p2p/{PEER}"
        command = [sys.executable, "-P", "-m", "monitoring.prober", "--rate", "4", *[address] * 9]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
        assert time.monotonic() - began >= 8 / 4, "nine addresses at four a second"
        with pytest.raises(TimeoutError):
            home.accept()
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["result"], each["why"]) for each in told] == [("skipped", "a private or loopback address")] * 9


class Asked:
    """An `Outside` over a pretended swarm, whose clock and results are ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.swarm = Pretend(peers=3)
        self.swarm.change = {index: self.address(index, 4001) for index in range(3)}
        self.outside = Outside(MonitorExporter(self.swarm.watch), self.swarm.watch, private=False)
        self.now, self.asked = 1000.0, list[str]()
        monkeypatch.setattr("monitoring.outside.time.monotonic", lambda: self.now)
        monkeypatch.setattr(self.outside.prober, "ask", self.asked.append)

    def address(self, index: int, port: int) -> Any:
        return lambda step, now: {"addresses": (f"/ip4/8.8.8.8/tcp/{port}/p2p/{self.swarm.ids[index]}",)}

    def turn(self, later: float = 0.0) -> set[str]:
        """Whose address is asked for at this look."""
        self.now += later
        self.asked.clear()
        self.swarm.run(1)
        self.outside.turn()
        return {address.rsplit("/", 1)[-1] for address in self.asked}

    def tell(self, index: int, result: str) -> None:
        self.outside._told(Result(self.swarm.ids[index], result, "", 0.1, None, None, ()))

    def accused(self) -> tuple[str, ...]:
        return self.swarm.problems().get("peers-unreachable", ())


def test_who_cannot_be_reached_is_tried_again_soon_and_accused_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Asked(monkeypatch)
    assert told.turn() == set(told.swarm.ids)
    for index, result in enumerate(("reachable", "unreachable", "reachable")):
        told.tell(index, result)
    assert told.turn(AGAIN_SECONDS) == {told.swarm.ids[1]}
    assert told.accused() == ()
    told.tell(1, "unreachable")
    told.turn()
    assert told.accused() == (told.swarm.ids[1],)
    told.turn(AGAIN_SECONDS)
    told.tell(1, "reachable")
    assert told.turn() == set()
    assert told.accused() == ()
    assert told.turn(EVERY_SECONDS) == set(told.swarm.ids)


def test_a_new_address_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Asked(monkeypatch)
    told.turn()
    told.swarm.change[2] = told.address(2, 4002)
    assert told.turn() == {told.swarm.ids[2]}
    told.swarm.change[2] = told.address(1, 4003)
    assert told.turn() == set(), "an address of somebody else"


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_peer_that_went_and_came_back_elsewhere_is_reached_there_by_the_same_prober() -> None:
    results: list[Result] = []
    identity = Identity.generate()
    with Prober(results.append, private=True) as asking:

        def probed(address: str) -> str:
            before = len(results)
            asking.ask(address)
            wait_until(lambda: len(results) > before, 40, "an answer")
            return results[-1].result

        with Network(identity, "ab" * 32, listen=("/ip4/127.0.0.1/tcp/0",)) as network:
            (first,) = network.addresses()
            assert probed(first) == "reachable"
        assert probed(first) == "unreachable"
        with Network(identity, "ab" * 32, listen=("/ip4/127.0.0.1/tcp/0",)) as network:
            (second,) = network.addresses()
            assert second != first
            assert probed(second) == "reachable"
            assert probed(first) == "unreachable", "what is asked is dialled, and not what was known before"
