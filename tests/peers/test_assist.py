"""A peer that averages for others: in a real swarm it carries spans, gives nothing, and holds what the others hold."""

from __future__ import annotations

import signal

import pytest

from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import RealSwarm, free_port, in_rounds_of, step_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]


def test_it_averages_for_others_and_holds_the_same_bits(swarm: RealSwarm) -> None:
    a, b = swarm.join("a", "--wait-for", "2"), swarm.join("b", "--wait-for", "2")
    helper = swarm.assist("helper")
    wait_for(lambda: in_rounds_of(a, 3) and in_rounds_of(helper, 3), 120, "rounds of three", a, b, helper)
    met = step_of(helper)
    wait_for(lambda: step_of(helper) >= met + 8, 60, "eight rounds more", a, b, helper)
    assert helper.steps[-1]["samples"] == 0
    assert "averaged for 2 others" in helper.steps[-1]["words"]
    wait_for(lambda: bool(swarm.same("a", "helper")), 60, "a checkpoint of both", a, helper)
    began = step_of(a)
    helper.process.send_signal(signal.SIGINT)
    assert helper.process.wait(10) == 130
    helper.reader.join(5)
    words = helper.latest["left"]["words"]
    assert "averaged for others" in words
    assert (helper.latest["left"]["samples"], helper.latest["left"]["tokens"]) == (0, {})
    sent = helper.latest["left"]["bytes"]["sent"]
    assert sent > 0.3 * helper.latest["left"]["rounds"]["committed"] * helper.latest["left"]["parameters"], "a share"
    wait_for(lambda: in_rounds_of(a, 2) and step_of(a) > began + 2, 30, "the others go on", a, b)
    assert not [step for step in a.steps if step["outcome"] != "committed"]


def test_a_machine_that_nobody_can_dial_is_no_assistant(swarm: RealSwarm) -> None:
    nowhere = f"/ip4/127.0.0.1/tcp/{free_port()}"
    said = run("assist", swarm.link, "--yes", "--dir", str(swarm.folder / "hidden"), "--announce", nowhere)
    assert "forward a TCP port" in assert_one_line(said, 7)
