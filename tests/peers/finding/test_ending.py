"""Whether a run has ended, from what its peers say: whose word counts, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peers.finding.ending import Ending, ending
from peers.roles.assistant import Assistant
from peers.roles.peer import Peer
from swarm.errors import EndedError
from swarm.records import ProgressRecord
from swarm.run.link import Link
from swarm.trust.identity import Identity

DOOR, A, B, C = (Identity.generate().peer_id for _ in range(4))
LINK = Link("ab" * 32, (f"/ip4/203.0.113.7/tcp/31337/p2p/{DOOR}",))


def record(role: str, state: str, step: int = 40, **more: Any) -> ProgressRecord:
    return ProgressRecord(role=role, state=state, step=step, version="0.1.0", **more)  # type: ignore[arg-type]


OVER = {DOOR: record("seed", "finished")}


def test_a_door_of_the_link_is_believed_while_nobody_trains() -> None:
    assert ending(LINK, {}) is None
    assert ending(LINK, {DOOR: record("seed", "serving")}) is None
    assert ending(LINK, OVER) == Ending(40, ())
    assert ending(LINK, {DOOR: record("archive", "finished", 0)}) is None, "no run ends where it begins"
    assert ending(LINK, {A: record("seed", "finished")}) is None, "a stranger"
    assert ending(LINK, {DOOR: record("trainer", "finished")}) is None, "one that was given so many steps"
    assert ending(LINK, {**OVER, A: record("trainer", "training", 39)}) is None, "it goes on"
    assert ending(LINK, {**OVER, A: record("trainer", "paused", 39)}) is None
    assert ending(LINK, {**OVER, A: record("trainer", "assembling", 0)}) == Ending(40, ()), "another newcomer"


def test_who_may_have_the_final_state_is_who_followed_to_the_end_or_keeps_that_checkpoint() -> None:
    others = {
        A: record("archive", "finished"),
        B: record("seed", "serving", checkpoint_step=40),
        C: record("monitor", "serving", 0),
    }
    assert ending(LINK, {**OVER, **others}) == Ending(40, (A, B))
    over = ending(LINK, {**OVER, A: record("archive", "training", 39, checkpoint_step=36)})
    assert over == Ending(40, ())


def test_who_comes_then_is_told_what_is_left_to_do(tmp_path: Path) -> None:
    with pytest.raises(EndedError, match=r"ended at step 40, and nobody who is here keeps .* ask its owner"):
        Peer.late(Ending(40, ()))
    assert Peer.late(Ending(40, (A,))) is not None
    with pytest.raises(EndedError, match=r"nothing left to average; its final checkpoint can be had of 1 peer: "):
        Assistant.late(Ending(40, (A,)))
    assert Ending(40, ()).held_in(tmp_path) is None
    (tmp_path / "step-00000040").mkdir()
    assert Ending(40, ()).held_in(tmp_path) == tmp_path / "step-00000040"
