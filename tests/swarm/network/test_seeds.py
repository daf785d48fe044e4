"""Which seeds answer, and how long the others are waited for."""

from __future__ import annotations

import asyncio
import time

import pytest

from swarm.errors import NetworkError
from swarm.network import seeds
from swarm.network.pipe import DaemonError
from swarm.trust.identity import Identity

LIVING, SILENT, REFUSING = (Identity.generate().peer_id for _ in range(3))


def address(peer: str, port: int = 1) -> str:
    return f"/ip4/192.0.2.1/tcp/{port}/p2p/{peer}"


@pytest.fixture(autouse=True)
def dials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As the daemon would; the silent peer's packets go nowhere."""
    dialled: list[str] = []

    async def dial(control: str, peer_id: str, addresses: list[str]) -> None:
        dialled.append(peer_id)
        if peer_id == REFUSING:
            raise DaemonError("connection refused")
        await asyncio.sleep(0.01 if peer_id == LIVING else 3600)

    monkeypatch.setattr(seeds, "dial_peer", dial)
    monkeypatch.setattr(seeds, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(seeds, "DIAL_SECONDS", 0.5)
    return dialled


def test_a_silent_seed_keeps_nobody_waiting_once_another_has_answered(dials: list[str]) -> None:
    doors = [address(SILENT), address(LIVING), address(LIVING, 2), address(REFUSING)]
    began = time.monotonic()
    assert asyncio.run(seeds.dial_seeds("", doors, "me")) == [address(LIVING), address(LIVING, 2)]
    assert time.monotonic() - began < 0.4, "it waited as long as for a seed that may be the only one"
    assert sorted(dials) == sorted([SILENT, LIVING, REFUSING])


def test_where_none_answers_each_ones_cause_is_told() -> None:
    with pytest.raises(NetworkError, match=r"no answer within 0 s.*connection refused"):
        asyncio.run(seeds.dial_seeds("", [address(SILENT), address(REFUSING)], "me"))


def test_nobody_to_dial_but_ourselves_is_no_error() -> None:
    assert asyncio.run(seeds.dial_seeds("", [address(LIVING)], LIVING)) == []


def test_all_are_waited_for_where_every_cause_is_wanted() -> None:
    found = asyncio.run(seeds.dial_all("", [address(SILENT), address(LIVING)]))
    assert found[address(LIVING)] is None
    assert "no answer" in str(found[address(SILENT)])
