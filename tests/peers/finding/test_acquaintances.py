"""Doors that are remembered: bounded, checked, and each peer speaks for itself only."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers.finding.acquaintances import MOST, Acquaintances
from swarm.records import ProgressRecord
from swarm.trust.identity import Identity


def record(*addresses: str, role: str = "trainer") -> ProgressRecord:
    return ProgressRecord.model_validate(
        {"step": 1, "state": "training", "role": role, "version": "0.1.0", "addresses": addresses}
    )


def address(peer: str, port: int = 4001) -> str:
    return f"/ip4/203.0.113.7/tcp/{port}/p2p/{peer}"


def test_trainers_first_ourselves_never_and_nobody_speaks_for_another(tmp_path: Path) -> None:
    me, one, seed = (Identity.generate().peer_id for _ in range(3))
    known = Acquaintances(tmp_path / "peers.json")
    known.remember(
        {
            seed: record(address(seed), role="seed"),
            one: record(address(one), address(seed, 9), "/ip4/nonsense"),
            me: record(address(me)),
        },
        me,
    )
    assert Acquaintances(tmp_path / "peers.json").addresses() == (address(one), address(seed))


def test_there_are_never_more_than_a_link_may_have(tmp_path: Path) -> None:
    peers = [Identity.generate().peer_id for _ in range(3 * MOST)]
    known = Acquaintances(tmp_path / "peers.json")
    known.remember({peer: record(address(peer)) for peer in peers}, "nobody")
    assert len(known.addresses()) == MOST


def test_hearing_nobody_keeps_what_is_known(tmp_path: Path) -> None:
    peer = Identity.generate().peer_id
    known = Acquaintances(tmp_path / "peers.json")
    known.remember({peer: record(address(peer))}, "me")
    known.remember({}, "me")
    assert known.addresses() == (address(peer),)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1, null]", b"\xff", b"[" * 100_000, b'["/ip4/1.2.3.4"]'])
def test_a_damaged_file_is_an_empty_one(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_bytes(data)
    assert Acquaintances(tmp_path / "peers.json").addresses() == ()
