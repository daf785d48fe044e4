"""A liar moves no figure, takes no memory, and is named; who is only fast is believed."""

from __future__ import annotations

import pytest
from pretend_swarm import STEP_SECONDS, Pretend, document, facts


def test_a_fast_machine_among_slow_ones_is_believed_and_one_faster_than_the_whole_swarm_is_not() -> None:
    swarm = Pretend().run(20)
    whole = 256 / STEP_SECONDS
    swarm.change[2] = lambda step, now: {"samples_per_second": whole}
    assert "claims-implausible" not in swarm.run(3).problems()
    swarm.change[2] = lambda step, now: {"samples_per_second": 10 * whole}
    assert set(swarm.run(1).problems()["claims-implausible"]) == {swarm.ids[2]}
    assert document(swarm)["samples_per_second"] < whole + 1


def test_a_liar_moves_no_figure() -> None:
    honest, lied = Pretend().run(20), Pretend()
    lied.change[2] = lambda step, now: {"loss": 0.01, "total_samples": 10**12, "samples_per_second": 1e8}
    lied.run(20)
    truth, told = document(honest), document(lied)
    assert told["step"] == truth["step"]
    assert told["loss"]["p50"] == pytest.approx(truth["loss"]["p50"], rel=0.02)
    assert told["samples_per_second"] < 25 * truth["samples_per_second"]
    lied.change[2] = lambda step, now: {"step": 2**52}
    assert document(lied.run(3))["step"] == lied.step
    assert 0 < lied.watch.view.counts["samples",] <= honest.run(3).watch.view.counts["samples",]


def test_a_lone_fast_machine_is_not_accused() -> None:
    """What it computes in a second says little where rounds take longer than computing."""
    swarm = Pretend(peers=1)
    swarm.change[0] = lambda step, now: {"samples_per_second": 100 * 256 / STEP_SECONDS}
    assert "claims-implausible" not in swarm.run(20).problems()
    assert 0 < document(swarm)["samples_per_second"] <= 8.01 * 256 / STEP_SECONDS


def test_one_liar_of_two_does_not_set_the_step() -> None:
    swarm = Pretend(peers=2)
    swarm.change[1] = lambda step, now: {"step": 1999}
    assert document(swarm.run(5))["step"] == swarm.step


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
