"""The simulated network: scripted faults do what they say, bytes are counted, nothing depends on threads or time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from swarm.averaging.averager import Averaged, Missed, Outcome
from swarm.averaging.codec import codec_named, frame_bytes
from swarm.averaging.simulated import KEPT_ROUNDS, CrashedError, Fault, Script, SimulatedAverager, SimulatedSwarm
from swarm.run.schema import AveragingSpec
from tests.swarm.averaging.adapters import dense, gift

SIZE, SPAN = 5000, 2048
PEERS = ("a", "b", "c")


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SIZE, dtype=np.float32)


def swarm(codec: str = "none@1", script: Script | None = None, feedback: bool = True) -> SimulatedSwarm:
    return SimulatedSwarm(AveragingSpec(codec=codec, span_size=SPAN), SIZE, script=script, feedback=feedback)


def joined(one: SimulatedSwarm, peers: tuple[str, ...] = PEERS) -> dict[str, SimulatedAverager]:
    return {peer: one.join(peer) for peer in peers}


def play(one: SimulatedSwarm, *seeds: int) -> dict[str, Outcome]:
    return one.round({peer: gift(values(seed), seed + 1) for peer, seed in zip(PEERS, seeds)})


@pytest.mark.parametrize("fault", [Fault.MISS, Fault.LATE])
def test_what_does_not_arrive_is_not_in_the_mean(fault: Fault) -> None:
    one = swarm(script=Script(faults={("b", 0): fault}))
    joined(one)
    outcomes = play(one, 0, 1, 2)
    wanted = (1 * values(0) + 3 * values(2)) / 4
    assert np.allclose(dense(outcomes["a"]), wanted, atol=1e-6)
    assert outcomes["a"].samples == 4  # type: ignore[union-attr]
    assert one.roster() == ("a", "c")
    if fault is Fault.LATE:
        assert isinstance(outcomes["b"], Averaged)
        assert not outcomes["b"].included
        assert dense(outcomes["b"]).tobytes() == dense(outcomes["a"]).tobytes()
    else:
        assert isinstance(outcomes["b"], Missed)
        assert outcomes["b"].behind
        learned = one.committed(0, "b")
        assert learned is not None
        assert not learned.included
        assert dense(learned).tobytes() == dense(outcomes["a"]).tobytes()


def test_a_peer_that_lost_the_outcome_counts_and_learns_it_later() -> None:
    one = swarm(script=Script(faults={("b", 0): Fault.LOST}))
    averagers = joined(one)
    outcomes = play(one, 0, 1, 2)
    assert isinstance(outcomes["b"], Missed)
    learned = averagers["b"].committed(0)
    assert learned is not None
    assert learned.included
    assert dense(learned).tobytes() == dense(outcomes["a"]).tobytes()
    assert averagers["b"].committed(1) is None


def test_only_the_last_rounds_are_kept() -> None:
    one = swarm()
    averagers = joined(one)
    for _ in range(KEPT_ROUNDS + 1):
        play(one, 0, 1, 2)
    assert averagers["a"].committed(0) is None
    assert averagers["a"].committed(1) is not None


def test_a_void_span_is_void_for_everybody_and_when_all_are_nobody_has_a_step() -> None:
    one = swarm("int8-block@1", Script(void={0: {1}, 1: {0, 1, 2}}))
    averagers = joined(one)
    outcomes = play(one, 0, 1, 2)
    for outcome in outcomes.values():
        assert isinstance(outcome, Averaged)
        assert [part is None for _, part in outcome.mean.spans()] == [False, True, False]
        assert outcome.stats.void_spans == 1
    assert all(set(averager.residuals) == {0, 2} for averager in averagers.values())
    kept = {peer: averager.residuals[0].tobytes() for peer, averager in averagers.items()}
    assert all(isinstance(outcome, Missed) and not outcome.behind for outcome in play(one, 3, 4, 5).values())
    assert {peer: averager.residuals[0].tobytes() for peer, averager in averagers.items()} == kept
    assert one.step == 1


def test_a_crash_ends_the_peer_and_not_the_round_and_it_may_come_back() -> None:
    one = swarm("int8-block@1", Script(faults={("b", 0): Fault.CRASH}))
    averagers = joined(one)
    outcomes, died = {}, []

    def take_part(peer: str, seed: int) -> None:
        try:
            outcomes[peer] = averagers[peer].average(0, gift(values(seed), 1))
        except CrashedError as error:
            died.append(str(error))

    threads = [threading.Thread(target=take_part, args=item) for item in (("a", 0), ("b", 1), ("c", 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert died == ["b dies at step 0, as scripted"]
    assert np.allclose(dense(outcomes["a"]), (values(0) + values(2)) / 2, atol=0.05)
    back = one.join("b")
    assert back.residuals == {}
    assert back.due(0, 0), "the swarm is ahead"
    assert set(play(one, 0, 1, 2)) == set(PEERS)
    assert one.roster() == PEERS


def test_outcomes_do_not_depend_on_who_comes_first() -> None:
    digests = set()
    for order in (PEERS, PEERS[::-1]):
        one = swarm("int8-block@1", Script(faults={("c", 1): Fault.LATE}, void={2: {0}}))
        joined(one, order)
        for _ in range(3):
            outcomes = one.round({peer: gift(values(ord(peer)), 2) for peer in order})
            for outcome in outcomes.values():
                assert isinstance(outcome, Averaged)
                parts = [None if part is None else part.tobytes() for _, part in outcome.mean.spans()]
                digests.add((outcome.step, tuple(parts)))
    assert len(digests) == 3


def test_bytes_are_those_of_the_frames_and_what_is_sent_is_received() -> None:
    one = swarm("int8-block@1")
    joined(one)
    outcomes = play(one, 0, 1, 2)
    codec = codec_named("int8-block@1")
    frames = [frame_bytes(codec, span) for span in (SPAN, SPAN, SIZE - 2 * SPAN)]
    for index, peer in enumerate(PEERS):  # span i is averaged by peer i
        stats = outcomes[peer].stats
        others = sum(frames) - frames[index]
        assert stats.bytes_sent == others + 2 * frames[index]
        assert stats.bytes_received == 2 * frames[index] + others
        assert stats.codec_relative_error is not None
        assert 0 < stats.codec_relative_error < 0.015


def test_error_feedback_pays_back_what_encoding_lost() -> None:
    """The mean of 30 equal rounds: with feedback their errors cancel, without they are all the same."""
    wanted = (values(0) + 2.0 * values(1) + 3.0 * values(2)) / 6

    def error_of_mean(rounds: int, feedback: bool) -> float:
        one = swarm("int8-block@1", feedback=feedback)
        joined(one)
        total = sum(dense(play(one, 0, 1, 2)["a"]).astype(np.float64) for _ in range(rounds))
        return float(np.linalg.norm(total / rounds - wanted) / np.linalg.norm(wanted))

    once = error_of_mean(1, feedback=True)
    assert 1e-3 < once < 0.015
    assert error_of_mean(30, feedback=True) < once / 10
    assert error_of_mean(30, feedback=False) == pytest.approx(once, rel=0.01)


def test_close_lets_the_others_finish() -> None:
    one = swarm()
    averagers = joined(one)
    outcomes = {}
    entered = [
        threading.Thread(
            target=lambda peer=peer: outcomes.update({peer: averagers[peer].average(0, gift(values(0), 1))})
        )
        for peer in ("a", "b")
    ]
    for thread in entered:
        thread.start()
    averagers["c"].close()
    for thread in entered:
        thread.join(30)
    assert [type(outcomes[peer]) for peer in ("a", "b")] == [Averaged, Averaged]
    assert one.roster() == ("a", "b")
