"""What a peer tells of itself is what happened, and fits the record that carries it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from monitoring.energy import Estimate, Meter
from monitoring.exporter import PeerExporter
from peers.telling.standing import Standing
from swarm.averaging.averager import Averaged, Member, Missed
from swarm.network.traffic import Traffic
from swarm.records import ProgressRecord


def test_rounds_checkpoints_and_the_machine_reach_the_record(tmp_path: Path) -> None:
    traffic, refused = Traffic(), Counter({"signature": 2, "flood": 1})
    traffic.add("sent", "averaging", 700)
    network = SimpleNamespace(traffic=traffic, rejected=lambda: refused)
    exporter = PeerExporter(folder=tmp_path)
    spent = [0.0]
    exporter.instruments.measure_energy(Meter((Estimate(lambda: spent[0], 1, 50.0),), lambda: spent[0]))
    standing = Standing(exporter, network, clock=lambda: 1000.0)  # type: ignore[arg-type]
    roster = (Member("a", 4, 1.0), Member("b", 4, 1.0))
    standing.round(Averaged(3, None, roster), 0.5)  # type: ignore[arg-type]
    standing.round(Missed(4, "timeout: 1 of 2 answered"), 9.0)
    standing.round(Missed(5, "12D3KooW at /ip4/192.0.2.1 said no"), 9.0)
    standing.checkpoint(saved=True, step=3)
    standing.checkpoint(saved=False, step=5)
    spent[0] = 10.0
    exporter.measure()

    told = ProgressRecord(step=5, state="training", role="trainer", version="0.1.0", **standing.fields())
    assert told.rounds == {"committed": 1, "timeout": 1, "other": 1}, "a stranger's words never become an outcome"
    assert (told.round_seconds, told.round_peers) == (0.5, 2), "of the last round that had an outcome"
    assert (told.checkpoint_step, told.checkpoint_time, told.checkpoint_failed) == (3, 1000.0, True)
    assert (told.sent_bytes, told.received_bytes, told.rejected) == (700, 0, 3)
    assert told.energy_joules == {"machine": 500.0}
    assert told.memory_bytes is not None
    assert told.memory_bytes > 10_000_000
    assert told.disk_free_bytes is not None
    assert ProgressRecord.from_bytes(told.to_bytes()) == told


def test_a_record_that_was_there_before_says_nothing_of_clocks(tmp_path: Path) -> None:
    """How old it is, nobody knows; one that replaces it is as old as it took to be read."""
    now = [1000.0]
    network = SimpleNamespace(traffic=Traffic(), rejected=Counter)
    standing = Standing(PeerExporter(folder=tmp_path), network, clock=lambda: now[0])  # type: ignore[arg-type]

    def told(**clocks: float) -> dict[str, ProgressRecord]:
        known = {"step": 1, "state": "training", "role": "trainer", "version": "0.1.0"}
        return {name: ProgressRecord(**known, clock=clock) for name, clock in clocks.items()}  # type: ignore[arg-type]

    assert standing.skew(told(a=991.0, b=970.0)) is None
    assert standing.skew(told(a=991.0, b=970.0)) is None
    now[0] = 1010.0
    assert standing.skew(told(a=1009.5, b=970.0)) == 0.5
    now[0] = 1020.0
    assert standing.skew(told(a=1018.0, b=1019.75)) == 0.375, "of a the fresher record counts"
    assert standing.skew(told(c=1019.0)) is None
