"""A swarm is broken in many ways, and the monitor says which, and who; a liar moves no figure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pretend_swarm import PLANNED, SEQUENCE, STEP_SECONDS, Pretend, facts

from monitoring.view.document import peers_document, swarm_document
from monitoring.view.swarm import SwarmView
from swarm.link import parse


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


def test_who_gets_ready_or_is_paused_is_not_called_training() -> None:
    swarm = Pretend(peers=3)
    swarm.change = dict.fromkeys(range(3), lambda step, now: {"state": "assembling"})
    swarm.run(3, moving=False)
    assert document(swarm)["verdict"] == {"status": "starting", "words": "Getting ready: 3 peers here."}
    assert document(swarm)["training"] == 0
    swarm.change = {1: lambda step, now: {"state": "paused"}}
    assert document(swarm.run(3))["verdict"]["words"] == "Healthy: 2 peers training, 1 not yet or paused."


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
    little = dict.fromkeys(PLANNED, 9000) | {"sw": 500}
    swarm.change[4] = lambda step, now: {"tokens_by_language": {code: step * each for code, each in little.items()}}
    accused = swarm.run(70).problems()["language-starved"]
    assert set(accused) == {peer for index, peer in enumerate(swarm.ids) if index != 4}, "one of them reads a little"


def test_a_language_that_is_seldom_read_by_chance_is_not_starved() -> None:
    swarm = Pretend(peers=1)
    few = {"en": 5 * SEQUENCE, "es": 5 * SEQUENCE}  # of ten samples none was Hindi, and one or two should have been
    swarm.change[0] = lambda step, now: {"tokens_by_language": {code: count * step for code, count in few.items()}}
    assert swarm.run(3).problems() == {}


def test_speed_is_judged_over_several_turns_of_the_loop() -> None:
    swarm = Pretend().run(20)
    swarm.change[2] = lambda step, now: {"samples_per_second": 0.1}
    assert swarm.run(2).problems() == {}, "one short turn is no slow peer"
    assert set(swarm.run(10).problems()["peer-slow"]) == {swarm.ids[2]}


def test_a_fast_machine_among_slow_ones_is_believed_and_one_faster_than_the_whole_swarm_is_not() -> None:
    swarm = Pretend().run(20)
    whole = 256 / STEP_SECONDS
    swarm.change[2] = lambda step, now: {"samples_per_second": whole}
    assert "claims-implausible" not in swarm.run(3).problems()
    swarm.change[2] = lambda step, now: {"samples_per_second": 10 * whole}
    assert set(swarm.run(1).problems()["claims-implausible"]) == {swarm.ids[2]}
    assert document(swarm)["samples_per_second"] < whole + 1


def test_what_peers_said_of_their_speed_holds_no_more_when_they_hang_and_when_nobody_looks() -> None:
    swarm = Pretend().run(20)
    before = document(swarm)["samples_per_second"]
    still = swarm.step
    hung = {"step": still, "total_samples": 4 * still, "samples_per_second": 3.0}
    swarm.change = dict.fromkeys(range(3), lambda step, now: hung)
    assert 0.3 * before < document(swarm.run(9))["samples_per_second"] < 0.7 * before
    swarm.change = dict.fromkeys(range(swarm.peers), lambda step, now: hung)
    told = document(swarm.run(12, moving=False))
    assert told["samples_per_second"] == told["tokens_per_second"] == 0
    assert told["seconds_to_end"] is None
    swarm.now += 100
    assert document(swarm)["samples_per_second"] is None


def test_peers_back_from_an_old_checkpoint_do_not_turn_the_swarm_s_step_back_but_a_run_begun_again_does() -> None:
    swarm = Pretend(peers=4).run(20)
    old = {"step": 50, "total_samples": 65 * 50}
    swarm.change = dict.fromkeys((0, 1), lambda step, now: old)
    found = swarm.run(2).problems()
    assert document(swarm)["step"] == 120
    assert "claims-implausible" not in found
    swarm.change = dict.fromkeys(range(4), lambda step, now: {**old, "step": step - 60})
    told = document(swarm.run(9))
    assert told["step"] == swarm.step - 60
    steps = [step for step, _ in told["curve"]]
    assert steps == sorted(steps)


def test_the_first_two_that_tell_a_digest_do_not_accuse_each_other() -> None:
    swarm = Pretend(peers=4).run(20)
    for index, digest in ((0, "aa" * 8), (1, "bb" * 8)):
        swarm.change[index] = lambda step, now, digest=digest: {"digest_step": 9000, "state_digest": digest}
    assert "digests-differ" not in swarm.run(1).problems()
    for index in (2, 3):
        swarm.change[index] = swarm.change[0]
    assert set(swarm.run(1).problems()["digests-differ"]) == {swarm.ids[1]}


def test_the_last_words_of_a_lost_peer_are_no_fork() -> None:
    swarm = Pretend().run(20)
    last = swarm.record(2)
    swarm.change = dict.fromkeys(range(swarm.peers), lambda step, now: {"lineage": "22" * 8})
    swarm.change[2] = lambda step, now: last.model_dump()
    swarm.run(2)
    assert "forked" not in swarm.problems()


def test_where_nobody_was_left_and_nobody_answers_it_stays_said_and_the_picture_is_not_old() -> None:
    swarm = Pretend().run(20)
    kill_everybody(swarm)
    swarm.run(3)
    for _ in range(10):
        swarm.now += 20
        swarm.watch.unanswered()
    assert next(iter(swarm.problems())) == "no-peers"
    assert "directory-failing" in swarm.problems()
    assert document(swarm)["verdict"]["status"] == "critical"


def test_where_peers_were_there_and_no_door_answers_the_picture_gets_old() -> None:
    swarm = Pretend().run(20)
    swarm.now += 70
    swarm.watch.unanswered()
    assert document(swarm)["verdict"]["status"] == "stale"
    assert "no-peers" not in swarm.problems()


def test_the_link_names_the_seeds_that_are_here_where_none_of_its_own_doors_is() -> None:
    swarm = Pretend().run(1)
    published = swarm.watch.view.facts.link
    assert document(swarm)["run"]["link"] == published
    door = f"/ip4/203.0.113.9/tcp/4001/p2p/{swarm.seed}"
    elsewhere = f"/ip4/203.0.113.9/tcp/4001/p2p/{swarm.ids[0]}"
    known = swarm.watch.view.known[swarm.seed]
    known.record = known.record.model_copy(update={"addresses": (elsewhere, "/nonsense", door)})
    told = parse(document(swarm)["run"]["link"])
    assert told.peers == (door, *parse(published).peers), "an address of somebody else is not its own"
    known.record = known.record.model_copy(update={"addresses": parse(published).peers})
    assert document(swarm)["run"]["link"] == published


def test_a_checkpoint_that_could_not_be_written_is_the_disk_s_fault_and_not_everybody_s() -> None:
    swarm = Pretend().run(20)
    swarm.change[2] = lambda step, now: {"checkpoint_failed": True}
    assert swarm.run(1).problems() == {"disk-full": (swarm.ids[2],)}


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
