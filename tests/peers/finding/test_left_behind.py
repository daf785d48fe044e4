"""A peer that the run's end has passed by leaves and says so; one that still gets somewhere stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from peers.finding import left_behind
from peers.finding.left_behind import LeftBehind
from peers.lifecycle import Leave
from swarm.errors import EndedError
from tests.peers.finding.test_ending import LINK, OVER, A, B, record


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_behind, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(left_behind, "PATIENCE_SECONDS", 0.1)


def watched(records: dict[str, Any], during: Callable[[Any], None] = lambda peer: None) -> tuple[LeftBehind, Leave]:
    """What a look of half a second comes to, at step 3, where `during` happens meanwhile."""
    peer: Any = SimpleNamespace(
        network=SimpleNamespace(peer_id=B),
        progress=SimpleNamespace(values={"step": 3}, records=lambda: records),
        reporter=SimpleNamespace(exporter=SimpleNamespace(detail="")),
    )
    leave = Leave()
    with LeftBehind(LINK, peer, leave) as behind:
        until = time.monotonic() + 0.5
        while time.monotonic() < until and not leave:
            during(peer)
            time.sleep(0.01)
    return behind, leave


def test_whoever_the_end_has_passed_by_leaves() -> None:
    behind, leave = watched({**OVER, A: record("archive", "finished"), B: record("trainer", "training", 3)})
    assert leave.reason == "the run has ended at step 40"
    with pytest.raises(EndedError, match=r"at step 40 while this peer was still at step 3; .* had of 1 peer"):
        behind.require_company()


def stays(records: dict[str, Any], during: Callable[[Any], None] = lambda peer: None) -> None:
    behind, leave = watched(records, during)
    assert not leave
    behind.require_company()


def test_while_the_run_goes_on_it_stays() -> None:
    stays({})
    stays({**OVER, A: record("trainer", "training", 39)})
    stays({A: record("seed", "finished")})


def test_who_still_follows_the_log_or_downloads_stays() -> None:
    def step(peer: Any) -> None:
        peer.progress.values["step"] = 4 + int(20 * time.monotonic()) % 30

    def download(peer: Any) -> None:
        peer.reporter.exporter.detail = f"{time.monotonic()} % from 1 donor"

    stays(OVER, download)
    stays({**OVER, B: record("trainer", "training", 3)}, step)


def test_who_is_there_has_its_own_end() -> None:
    def arrive(peer: Any) -> None:
        peer.progress.values["step"] = 40

    stays(OVER, arrive)
