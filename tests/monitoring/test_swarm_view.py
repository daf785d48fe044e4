"""What the picture of a swarm says of its step, speed and end, over restarts of peers and of the monitor itself."""

from __future__ import annotations

import json

from pretend_swarm import STEP_SECONDS, Pretend, document, facts

from monitoring.view.document import swarm_document
from monitoring.view.swarm import SwarmView
from swarm.records import ProgressRecord
from swarm.run.link import parse


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
    swarm.change[2] = lambda step, now: {"state": "waiting"}
    swarm.run(30, moving=False)
    assert document(swarm)["verdict"] == {"status": "starting", "words": "Getting ready: 3 peers here."}
    assert document(swarm)["training"] == 0
    assert swarm.problems() == {}, "nobody expects a step of them"
    swarm.change = {1: lambda step, now: {"state": "paused"}}
    assert document(swarm.run(3))["verdict"]["words"] == "Healthy: 2 peers training, 1 not yet or paused."


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


def test_who_comes_after_the_end_hears_of_it_from_a_door_of_the_link_and_from_nobody_else() -> None:
    end = ProgressRecord(step=2000, state="finished", role="seed", version="0.1.0")
    stranger = Pretend(peers=0, seeds=False)
    stranger.watch.look({stranger.seed: end})
    assert not stranger.watch.read(lambda view, now, found: view.finished)
    door = Pretend(peers=0, seeds=False)
    (seed,) = door.watch.view.facts.doors
    door.watch.look({seed: end})
    document = door.watch.read(swarm_document)
    assert (document["step"], document["finished"], document["problems"]) == (2000, True, [])
    assert document["verdict"]["words"] == "Finished: all 2,000 steps are done."
    early = Pretend(peers=3)
    early.watch.look({**early.records(), seed: end})
    assert not early.watch.read(lambda view, now, found: view.finished), "while somebody trains nobody is believed"


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
