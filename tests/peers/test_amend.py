"""A running swarm is amended: one language more, another batch, a longer schedule, from a step on, without a pause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peers.demo.follow import run_to_end
from tests.peers.real_swarm import make_run, step_of, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(400)]
STEPS, LONGER, AT, BATCH = 60, 66, 50, 512


def amended(folder: Path, *arguments: str) -> dict[str, object]:
    text = (folder / "small.toml").read_text(encoding="utf-8")
    changed = text.replace('["en", "fr"]', '["en", "fr", "sw"]').replace(f"steps = {STEPS}", f"steps = {LONGER}")
    assert changed.count("sw") == 1
    (folder / "amended.toml").write_text(
        changed.replace(f"global_batch = {BATCH}", "global_batch = 48"), encoding="utf-8"
    )
    words = ["amend", str(folder / "small"), str(folder / "amended.toml"), *arguments, "--json"]
    return json.loads(run_to_end("amend", words, folder / "amend.log", lambda: False).splitlines()[-1])


def test_all_switch_at_the_step_and_a_late_joiner_goes_with_them(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=STEPS, batch=BATCH)
    with swarm_of(tmp_path, run) as swarm:
        swarm.seed()
        peers = [swarm.join(name, "--wait-for", "2") for name in ("a", "b")]
        wait_for(lambda: min(map(step_of, peers)) >= 2, 120, "both train", *peers)
        told = amended(tmp_path, "--at-step", str(AT))
        assert told["number"] == 1
        assert step_of(peers[0]) < AT - 5, "the test was too slow to say it in time"
        wait_for(lambda: min(map(step_of, peers)) >= AT + 2, 200, "the switch", *peers)
        late = swarm.join("late")
        everyone = [*peers, late]
        wait_for(lambda: all("finished" in peer.latest for peer in everyone), 200, "all reach the end", *everyone)
        assert {peer.latest["finished"]["step"] for peer in everyone} == {LONGER}
        assert len({peer.latest["finished"]["digest"] for peer in everyone}) == 1
        for peer in peers:
            said = (tmp_path / peer.name / "events.jsonl").read_text(encoding="utf-8")
            assert f"From step {AT} on amendment 1 counts." in said
            assert peer.latest["finished"]["tokens"]["sw"] > 0
        assert swarm.same("a", "b", "late")
