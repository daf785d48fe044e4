"""What the prober dials and what not: strangers choose the addresses, so none may make us scan somebody's home."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from monitoring import prober
from monitoring.prober_client import parse
from swarm.identity import Identity

PEER = Identity.generate().peer_id
INSIDE = ["127.0.0.1", "10.0.0.7", "192.168.1.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
INSIDE_6 = ["::1", "fe80::1", "fc00::7", "::ffff:127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    [f"/ip4/{host}/tcp/4001/p2p/{PEER}" for host in INSIDE] + [f"/ip6/{host}/tcp/4001/p2p/{PEER}" for host in INSIDE_6],
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
