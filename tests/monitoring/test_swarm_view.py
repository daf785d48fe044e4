"""A swarm is broken in many ways, and the monitor says which, and who; a liar moves no figure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pretend_swarm import STEP_SECONDS, Pretend, facts

from monitoring.view.document import peers_document, swarm_document
from monitoring.view.swarm import SwarmView


def document(swarm: Pretend) -> dict[str, Any]:
    return swarm.watch.read(swarm_document)


def test_a_healthy_swarm_has_no_problem() -> None:
    swarm = Pretend().run(30)
    assert swarm.problems() == {}
    told = document(swarm)
    assert told["verdict"]["status"] == "healthy"
    assert told["step"] == 130
    assert told["step_interval_seconds"] == STEP_SECONDS
    assert told["seconds_to_end"] == (2000 - 130) * STEP_SECONDS
    assert told["peers"] == {"trainer": 6, "seed": 1, "assistant": 0, "archive": 0, "monitor": 0}


def break_seed(swarm: Pretend) -> None:
    swarm.seeds = False


def kill_peers(swarm: Pretend) -> None:
    swarm.gone = {0, 1}


def slow(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"samples_per_second": 0.1}


def lie(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"loss": 0.01, "total_samples": 10**12, "samples_per_second": 1e8}


def diverge(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"state_digest": "ff" * 8}


def fork(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"lineage": "22" * 8}


def fill_disk(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"disk_free_bytes": 10_000_000, "checkpoint_failed": True}


def set_clock_wrong(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"clock": now - 25}


def fall_behind(swarm: Pretend) -> None:
    swarm.change[2] = lambda step, now: {"step": 60, "state": "lagging"}


def kill_everybody(swarm: Pretend) -> None:
    swarm.gone, swarm.seeds = set(range(swarm.peers)), False


def pause_everybody(swarm: Pretend) -> None:
    swarm.change = dict.fromkeys(range(swarm.peers), lambda step, now: {"state": "paused"})


BROKEN = [
    (break_seed, "no-seed", ()),
    (kill_peers, "peers-falling", (0, 1)),
    (slow, "peer-slow", (2,)),
    (lie, "claims-implausible", (2,)),
    (diverge, "digests-differ", (2,)),
    (fork, "forked", (2,)),
    (fill_disk, "disk-full", (2,)),
    (set_clock_wrong, "clock-wrong", (2,)),
    (fall_behind, "peers-behind", (2,)),
    (kill_everybody, "no-peers", ()),
    (pause_everybody, "no-trainers", tuple(range(6))),
]


@pytest.mark.parametrize(("breaking", "slug", "whom"), BROKEN, ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_way_to_break_it_has_its_name_and_names_its_peers(breaking: Any, slug: str, whom: tuple) -> None:
    swarm = Pretend().run(20)
    breaking(swarm)
    found = swarm.run(10).problems()
    assert set(found[slug]) == {swarm.ids[index] for index in whom}
    rows = swarm.watch.read(lambda *seen: peers_document(*seen, slug))["peers"]
    assert {row["peer_id"] for row in rows} == {swarm.ids[index] for index in whom}


def test_a_peer_that_repairs_itself_and_differs_again_does_not_flicker_and_one_that_stays_well_is_forgotten() -> None:
    swarm = Pretend().run(20)
    diverge(swarm)
    swarm.run(1)
    swarm.change.clear()
    assert set(swarm.run(3).problems()["digests-differ"]) == {swarm.ids[2]}
    assert swarm.run(10).problems() == {}


def test_a_swarm_that_makes_no_step() -> None:
    swarm = Pretend().run(20)
    found = swarm.run(20, moving=False).problems()
    assert set(found) == {"no-global-step"}
    assert set(found["no-global-step"]) == set(swarm.ids)


def test_a_language_that_nobody_reads_any_more() -> None:
    swarm = Pretend().run(20)
    for index in range(swarm.peers):
        swarm.change[index] = lambda step, now: {
            "tokens_by_language": {"en": step * 9000, "es": step * 9000, "hi": step * 9000, "ar": step * 9000,
                                   "zh": step * 9000, "sw": 100}
        }  # fmt: skip
    assert "language-starved" in swarm.run(70).problems()


def test_rounds_that_fail() -> None:
    swarm = Pretend().run(20)
    for index in range(swarm.peers):
        swarm.change[index] = lambda step, now: {"rounds": {"committed": 100, "timeout": step * 3}}
    assert "rounds-failing" in swarm.run(20).problems()


def test_refused_records_are_told() -> None:
    swarm = Pretend().run(3)
    assert "rejected-input" in swarm.run(1, rejected={"signature": 50}).problems()


def test_a_liar_moves_no_figure() -> None:
    honest, lied = Pretend().run(20), Pretend()
    lie(lied)
    lied.run(20)
    truth, told = document(honest), document(lied)
    assert told["step"] == truth["step"]
    assert told["loss"]["p50"] == pytest.approx(truth["loss"]["p50"], rel=0.02)
    assert told["samples_per_second"] < 25 * truth["samples_per_second"]
    lied.change[2] = lambda step, now: {"step": 2**52}
    assert document(lied.run(3))["step"] == lied.step
    assert 0 < lied.watch.view.counts["samples",] <= honest.run(3).watch.view.counts["samples",]


def test_one_liar_of_two_does_not_set_the_step() -> None:
    swarm = Pretend(peers=2)
    swarm.change[1] = lambda step, now: {"step": 1999}
    assert document(swarm.run(5))["step"] == swarm.step


def test_an_ended_run_is_finished_and_not_dead_and_a_restarted_monitor_still_knows() -> None:
    swarm = Pretend(step=1995)
    swarm.run(5)
    swarm.change = dict.fromkeys(range(swarm.peers), lambda step, now: {"state": "finished"})
    swarm.run(1, moving=False)
    swarm.gone, swarm.seeds = set(range(swarm.peers)), False
    swarm.run(60, moving=False)
    assert swarm.problems() == {}
    assert document(swarm)["verdict"]["status"] == "finished"
    again = SwarmView(facts(), swarm.now)
    again.restore(json.loads(json.dumps(swarm.watch.view.to_dict())))
    again.observe({}, swarm.now)
    assert swarm_document(again, swarm.now, [])["verdict"]["status"] == "finished"
    assert len(again.curve) == len(swarm.watch.view.curve)


def test_a_picture_that_is_old_says_so() -> None:
    swarm = Pretend().run(5)
    swarm.now += 600
    assert "monitor-stale" in swarm.problems()
    assert document(swarm)["stale"] is True
    assert document(swarm)["verdict"]["status"] == "stale"


def test_two_monitors_give_the_same_figures_and_count_each_other_as_no_trainer() -> None:
    swarm = Pretend()
    other = Pretend()
    other.ids, other.seed = swarm.ids, swarm.seed
    for _ in range(10):
        swarm.run(1)
        other.now, other.step = swarm.now, swarm.step
        other.watch.look(swarm.records())
    first, second = document(swarm), document(other)
    assert first["samples_per_second"] == second["samples_per_second"]
    assert first["peers"] == second["peers"]


def test_memory_of_the_view_is_bounded_whatever_strangers_write() -> None:
    swarm = Pretend(peers=3).run(2)
    codes = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    for turn in range(60):
        swarm.change[0] = lambda step, now, turn=turn: {
            "lineage": f"{turn:016x}",
            "tokens_by_language": dict.fromkeys(codes, step),
            "rounds": {f"{chr(97 + turn % 26)}{chr(97 + turn // 26)}": step},
        }
        swarm.run(1)
    keys = {key[1] for key in swarm.watch.view.counts if key[0] in ("tokens", "outcome")}
    assert keys <= {*facts().languages, "other", "committed", "timeout"}
