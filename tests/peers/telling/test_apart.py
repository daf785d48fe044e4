"""Who trains alone among others is told so after a few rounds, with what to do; who is alone for good reason is not."""

from __future__ import annotations

from peers.telling.apart import ROUNDS, Apart
from swarm.records import ProgressRecord

ALONE = ["me"]
ADDRESS = ("/ip4/192.0.2.1/tcp/4001",)


def record(state: str, addresses: tuple[str, ...] = ADDRESS) -> ProgressRecord:
    return ProgressRecord(step=1, state=state, role="trainer", version="0.1.0", addresses=addresses)  # type: ignore[arg-type]


def test_it_is_said_once_after_some_rounds_and_once_when_it_is_over() -> None:
    apart, others = Apart("me", client=False), {"me": record("alone"), "a": record("training"), "b": record("alone")}
    assert [apart.round(ALONE, others) for _ in range(ROUNDS - 1)] == [None] * (ROUNDS - 1)
    assert apart.detail == ""
    said = apart.round(ALONE, others)
    assert said == (
        "Apart from 2 others who train and cannot be reached. What lies between, `bloomswarm doctor LINK` says."
    )
    assert [apart.round(ALONE, others) for _ in range(5)] == [None] * 5
    assert apart.detail.startswith("apart from 2 others")
    assert apart.round(["me", "a", "b"], others) == "This peer trains with others again."
    assert apart.detail == ""
    assert apart.round(ALONE, others) is None


def test_peers_that_only_dial_out_are_told_what_they_lack() -> None:
    apart, others = Apart("me", client=True), {"me": record("alone", ()), "a": record("alone", ())}
    said = [apart.round(ALONE, others) for _ in range(ROUNDS)][-1]
    assert said is not None
    assert said.startswith("Apart from another who trains and cannot be reached. All of you only dial out")
    assert "bloomswarm assist LINK" in said
    able = Apart("me", client=True)
    said = [able.round(ALONE, {"a": record("alone")}) for _ in range(ROUNDS)][-1]
    assert said is not None
    assert "doctor" in said


def test_a_newcomer_that_gets_ready_is_not_missed() -> None:
    apart = Apart("me", client=False)
    ready = {"me": record("alone"), "a": record("assembling"), "b": record("downloading"), "c": record("lagging")}
    assert [apart.round(ALONE, ready) for _ in range(9)] == [None] * 9
    assert [apart.round(ALONE, {"me": record("alone")}) for _ in range(9)] == [None] * 9


def test_rounds_of_others_that_it_only_follows_do_not_count() -> None:
    apart = Apart("me", client=False)
    assert [apart.round(["a"], {"me": record("training"), "a": record("alone")}) for _ in range(9)] == [None] * 9
