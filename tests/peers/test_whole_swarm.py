"""Whole swarms in one process: the real loop on the simulated network, compared bit for bit where bits are promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.averaging.averager import Averaged, Contribution, Member, Missed
from swarm.averaging.mean import FloatMean
from swarm.averaging.simulated import Fault, Samples, Script, SimulatedSwarm
from swarm.data.batches import make_batch
from tests.peers.whole_swarm import Peer, Run, start_all, train_all

pytestmark = pytest.mark.timeout(120)
STEPS = 5
UNEQUAL: dict[str, Samples] = {"a": 3, "b": lambda step: 6 + 3 * step, "c": 12}  # whole micro-batches of 3
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same in 8 bits."""
    return Run.make(tmp_path_factory.mktemp("cache"), codec="int8-block@1")


def network(run: Run, script: Script | None = None) -> SimulatedSwarm:
    swarm = SimulatedSwarm(run.signed.manifest.averaging, run.state().layout.size, script=script)
    return swarm.resume(0, tuple(UNEQUAL))  # so that all hold slots of the plan from the first step on


def one_big_batch(run: Run, steps: int) -> tuple[np.ndarray, list[Contribution]]:
    """The parameters of a single machine that reads, at each step, every sample that the peers read."""
    state, plan, store = run.state(), run.plan(), run.store()
    sums, gifts = run.accumulator(state), []
    for step in range(steps):
        sums.reset()
        for peer, count in UNEQUAL.items():
            wanted = count if isinstance(count, int) else count(step)
            sums.add(make_batch(store, plan, step, tuple(plan.reads(tuple(UNEQUAL), peer, step, wanted))))
        gifts.append(sums.contribution())
        roster = (Member("x", sums.samples, sums.samples),)
        state.apply(Averaged(step, FloatMean(gifts[-1].vector, state.span_size), roster))
        state.layout.scatter(state.parameters, sums.model)
    return state.parameters, gifts


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_peers_without_compression_are_one_peer_with_the_big_batch(run: Run) -> None:
    """Unequal and changing shares, real text. What differs is only the order of float32 additions."""
    peers = start_all(run, network(run), UNEQUAL)
    start = run.state().parameters.copy()
    train_all(peers, STEPS)
    wanted, gifts = one_big_batch(run, STEPS)
    for peer in peers.values():
        assert peer.state.samples == sum(21 + 3 * step for step in range(STEPS)) == sum(gift.samples for gift in gifts)
        assert relative(peer.state.parameters - start, wanted - start) < 5e-6
        for report, gift in zip(peer.reports, gifts, strict=True):
            assert isinstance(report.outcome, Averaged)
            mean = np.concatenate([part for _, part in report.outcome.mean.spans() if part is not None])
            assert relative(mean, gift.vector) < 1e-6
    assert relative(wanted, start) > 0.01, "it learned something"


def test_replicas_are_the_same_bits_in_eight_bits_and_learn(small: Run) -> None:
    peers = start_all(small, network(small), UNEQUAL)
    train_all(peers, 12)
    assert len({peer.state.digest() for peer in peers.values()}) == 1
    wanted = np.log(400)  # of a model that knows nothing
    assert all(peer.work.loss is not None and peer.work.loss < wanted - 0.1 for peer in peers.values())


def test_no_sample_is_read_twice_in_a_step(run: Run) -> None:
    peers = start_all(run, network(run), UNEQUAL)
    train_all(peers, STEPS)
    plan = run.plan()
    for step in range(STEPS):
        slots = [
            slot
            for name, count in UNEQUAL.items()
            for slot in plan.reads(tuple(UNEQUAL), name, step, count if isinstance(count, int) else count(step))
        ]
        assert len(set(slots)) == len(slots) == 21 + 3 * step
    assert sum(report.samples for peer in peers.values() for report in peer.reports) == peers["a"].state.samples


FAULTS = {
    "missed": Script(faults={("b", 1): Fault.MISS, ("a", 3): Fault.MISS}),
    "outcome lost": Script(faults={("c", 0): Fault.LOST, ("b", 2): Fault.LOST}),
    "late": Script(faults={("a", 1): Fault.LATE, ("b", 1): Fault.LATE}),
    "void spans": Script(void={1: {0, 3}, 3: {2}}),
    "void rounds": Script(faults={(peer, 2): Fault.MISS for peer in UNEQUAL}),
    "everything": Script(
        faults={("a", 0): Fault.LATE, ("b", 0): Fault.MISS, ("c", 2): Fault.LOST, ("a", 3): Fault.MISS}, void={2: {1}}
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_goes_wrong_the_replicas_are_identical_and_it_is_repeatable(small: Run, name: str) -> None:
    ends = set()
    for _ in range(2):
        peers = start_all(small, network(small, FAULTS[name]), UNEQUAL)
        train_all(peers, STEPS)
        assert all(peer.state.step == STEPS for peer in peers.values())
        missed = [r for peer in peers.values() for r in peer.reports if isinstance(r.outcome, Missed)]
        assert bool(missed) == (name not in ("late", "void spans"))
        ends |= {peer.state.digest() for peer in peers.values()}
    assert len(ends) == 1


def test_a_void_span_keeps_its_parameters_and_moments(small: Run) -> None:
    peers = start_all(small, network(small, Script(void={0: {1}})), UNEQUAL)
    before = small.state()
    train_all(peers, 1)
    after = peers["a"].state
    changed = [one != other for one, other in zip(before.span_digests(), after.span_digests(), strict=True)]
    assert changed == [index != 1 for index in range(len(changed))]


def test_a_peer_that_crashes_is_missed_by_nobody_and_comes_back(small: Run, tmp_path: Path) -> None:
    swarm = network(small, Script(faults={("b", 2): Fault.CRASH}))
    peers = {name: Peer(small, swarm.join(name, count), folder=tmp_path / name) for name, count in UNEQUAL.items()}
    train_all(peers, 4)
    assert [peers[name].crashed for name in UNEQUAL] == [False, True, False]
    assert (peers["a"].step, peers["b"].step, swarm.roster()) == (4, 2, ("a", "c"))
    again = {name: Peer(small, swarm.join(name, count), folder=tmp_path / name) for name, count in UNEQUAL.items()}
    assert again["b"].step == 2, "from its own checkpoint"
    train_all(again, 6)
    assert len({peer.state.digest() for peer in again.values()}) == 1
    assert swarm.roster() == tuple(UNEQUAL)


def killed(folder: Path, *options: str) -> dict[str, dict[str, str]]:
    command = [sys.executable, "-m", "tests.peers.whole_swarm", str(folder / "runs"), *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr[-1000:]
    ends: dict[str, dict[str, str]] = json.loads(result.stdout)
    return ends


def test_killed_at_some_moment_and_restarted_the_end_has_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL to a real process: while it computes, between the files of a checkpoint, before and after its rename."""
    ends = killed(tmp_path, "--every", "6")
    whole = ends.pop("whole")
    assert len(ends) > 5
    assert set(whole.values()) == {whole["a"]}
    assert all(end == whole for end in ends.values()), ends


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("codec", ["none@1", "int8-block@1"])
def test_killed_at_every_moment_and_restarted_the_end_has_the_same_bytes(codec: str, tmp_path: Path) -> None:
    ends = killed(tmp_path, "--codec", codec)
    whole = ends.pop("whole")
    assert len(ends) > 40
    assert all(end == whole for end in ends.values()), ends
