"""A running swarm is amended: one language more, another batch, a longer schedule, from a step on, without a pause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peers.demo.follow import run_to_end
from tests.peers.real_swarm import make_run, step_of, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(700)]
STEPS, BATCH, AHEAD, AFTER = 5000, 64, 80, 150  # so long that who joins later still meets the others


def amended(folder: Path, at_step: int) -> dict[str, object]:
    """The run ends AFTER steps later than it is amended, so that the test is as long as the machine is slow."""
    text = (folder / "small.toml").read_text(encoding="utf-8")
    changed = text.replace('["en", "fr"]', '["en", "fr", "sw"]').replace(
        f"steps = {STEPS}", f"steps = {at_step + AFTER}"
    )
    changed = changed.replace(f"global_batch = {BATCH}", "global_batch = 48")
    (folder / "amended.toml").write_text(changed, encoding="utf-8")
    words = ["amend", str(folder / "small"), str(folder / "amended.toml"), "--at-step", str(at_step), "--json"]
    return json.loads(run_to_end("amend", words, folder / "amend.log", lambda: False).splitlines()[-1])


def test_all_switch_at_the_step_and_who_joins_later_goes_with_them(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=STEPS, batch=BATCH)
    with swarm_of(tmp_path, run) as swarm:
        swarm.seed()
        peers = [swarm.join(name, "--wait-for", "2") for name in ("a", "b")]
        wait_for(lambda: min(map(step_of, peers)) >= 1, 250, "both train", *peers)
        at = step_of(peers[0]) + AHEAD
        assert amended(tmp_path, at)["number"] == 1
        everyone = [*peers, swarm.join("late")]
        wait_for(lambda: all("finished" in peer.latest for peer in everyone), 300, "all reach the end", *everyone)
        assert {peer.latest["finished"]["step"] for peer in everyone} == {at + AFTER}
        assert len({peer.latest["finished"]["digest"] for peer in everyone}) == 1
        assert all("amendment 1 counts" in said_by(tmp_path / peer.name) for peer in everyone)
        for peer in peers:
            assert f"From step {at} on amendment 1 counts." in said_by(tmp_path / peer.name)
            assert peer.latest["finished"]["tokens"]["sw"] > 0
        assert swarm.same("a", "b", "late")


def said_by(folder: Path) -> str:
    return (folder / "events.jsonl").read_text(encoding="utf-8")
