"""A swarm is broken in many ways, and the monitor says which, and who."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pretend_swarm import PLANNED, SEQUENCE, Pretend, document

from monitoring.view.document import peers_document


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


def test_a_starved_language_is_fed_again_when_it_gets_half_of_its_share_and_does_not_flicker_before() -> None:
    fed = dict.fromkeys(PLANNED, 9000)
    read = dict(fed)
    swarm = Pretend().run(20)

    def eat(languages: dict[str, int]) -> None:
        for code, tokens in languages.items():
            read[code] = read.get(code, 0) + tokens
        told = dict(read)
        swarm.change = dict.fromkeys(range(swarm.peers), lambda step, now: {"tokens_by_language": told})

    said = []
    for sw in [0] * 70 + [1900] * 20 + [9000] * 20:  # 40 % of its share, and then more than all of it
        eat(fed | {"sw": sw})
        said.append("language-starved" in swarm.run(1).problems())
    assert said[69:90] == [True] * 21, "not before it gets half"
    assert not said[-1]
    assert sum(a != b for a, b in itertools.pairwise(said)) == 2, "said once and taken back once"


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


def test_a_peer_at_the_threshold_of_slowness_does_not_flicker() -> None:
    swarm = Pretend().run(20)
    usual, said = swarm.record(0).samples_per_second, []
    for part in [0.1] * 10 + [0.2, 0.4] * 20 + [0.9] * 10:
        swarm.change[2] = lambda step, now, part=part: {"samples_per_second": part * usual}
        said.append("peer-slow" in swarm.run(1).problems())
    assert sum(a != b for a, b in itertools.pairwise(said)) == 2, "said once and taken back once"
    assert not said[-1]


def test_the_last_record_of_a_peer_that_is_gone_tells_nothing_of_its_clock() -> None:
    swarm = Pretend()
    old = swarm.now - 25
    swarm.change[2] = lambda step, now: {"clock": old}
    assert swarm.run(2).problems() == {}
    swarm.change[2] = lambda step, now: {"clock": now - 25}
    assert set(swarm.run(2).problems()) == {"clock-wrong"}
    fast = Pretend()
    fast.change[2] = lambda step, now: {"clock": now + 25}
    assert set(fast.run(1).problems()) == {"clock-wrong"}, "one from the future is known at once"


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


def test_a_picture_that_is_old_says_so() -> None:
    swarm = Pretend().run(5)
    swarm.now += 600
    assert "monitor-stale" in swarm.problems()
    assert document(swarm)["stale"] is True
    assert document(swarm)["verdict"]["status"] == "stale"
