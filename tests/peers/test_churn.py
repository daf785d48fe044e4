"""A real run that is disturbed, in each mode: one peer joins late, one leaves, one is killed and comes back.

The survivors hold the same bytes, and the model is as good as that of a machine that was never disturbed.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from peers.run_folder import RunFolder
from peers.training.local_work import LocalWork
from peers.training.work import GradientWork
from peers.wiring import initial_state, training_data
from swarm.averaging.averager import Averaged, Member
from swarm.averaging.mean import FloatMean
from swarm.checkpoint import load as load_checkpoint
from swarm.data.held_out import held_out
from swarm.evaluation import bits_per_byte
from swarm.manifest import Manifest
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.inner import InnerOptimizer
from swarm.model.memory import MicroBatch
from swarm.settings import Settings
from swarm.state import SharedState
from swarm.tokenizer import load
from tests.peers.real_swarm import RealSwarm, in_rounds_of, make_run, step_of, swarm_of, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]
LOCAL = """
mode = "local"
[training.local]
inner_steps = 8
inner_batch = 8
"""
MODES = {"gradient": ("", 256), "local": (LOCAL, 192)}
WORSE = {"gradient": 1.01, "local": 1.02}  # bits per byte, against one undisturbed machine; in 8 bits, and with overlap


@pytest.mark.parametrize("mode", MODES)
def test_peers_join_late_leave_and_are_killed(tmp_path: Path, mode: str) -> None:
    training, batch = MODES[mode]
    run = make_run(tmp_path, batch=batch, training=training)
    with swarm_of(tmp_path, run) as swarm:
        step = disturbed(swarm)
        state = load_checkpoint(tmp_path / "late" / "checkpoints" / f"step-{step:08d}").state
    manifest = RunFolder(run).manifest().manifest
    begun, alone = initial_state(run, manifest), undisturbed(run, tmp_path / "cache", step)
    scores = [bits(manifest, run, one) for one in (begun, state, alone)]
    print(f"{mode}: step {step}, bits per byte at the start, disturbed, undisturbed: {scores}")
    assert scores[1] < scores[0] - 0.1, "it has learned"
    assert scores[1] < WORSE[mode] * scores[2]


def disturbed(swarm: RealSwarm) -> int:
    """The last step of a checkpoint that the two who are left at the end have both written, before they left."""
    swarm.seed()
    a, b = (swarm.join(name, "--wait-for", "2") for name in ("a", "b"))
    wait_for(lambda: in_rounds_of(a, 2) and in_rounds_of(b, 2), 200, "the first two train", a, b)
    late = swarm.join("late")
    wait_for(lambda: all(in_rounds_of(peer, 3) for peer in (a, b, late)), 200, "three in one round", a, b, late)
    assert late.steps[0]["step"] > 1
    b.process.send_signal(signal.SIGINT)
    wait_for(lambda: b.ended, 60, "one leaves", b)
    assert b.process.returncode == 0
    wait_for(lambda: in_rounds_of(a, 2) and in_rounds_of(late, 2), 100, "two go on", a, late)
    a.process.kill()
    a.process.wait()
    killed = step_of(late)
    wait_for(lambda: step_of(late) > killed + 1 and in_rounds_of(late, 1), 100, "one goes on alone", late)
    again = swarm.join("a")
    wait_for(
        lambda: bool(again.steps) and all(in_rounds_of(peer, 2) for peer in (again, late)), 200, "back", again, late
    )
    back = step_of(again)
    wait_for(lambda: bool(common(swarm, back)), 100, "a checkpoint of both", again, late)
    for peer in (again, late):
        peer.process.kill()  # what they hold now stays
        peer.process.wait()
    return max(common(swarm, back))


def common(swarm: RealSwarm, after: int) -> list[int]:
    return [step for name in swarm.same("a", "late") if (step := int(name[5:])) > after]


class Alone:
    """Everybody's samples are this machine's."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def due(self, step: int, samples: int) -> bool:
        return samples >= self.samples

    def roster(self) -> tuple[str, ...]:
        return ("alone",)


def undisturbed(run: Path, cache: Path, steps: int) -> SharedState:
    """The state after so many rounds of one machine, without a swarm: the batch at once, or one peer's inner steps."""
    torch.set_num_threads(1)
    manifest, tokenizer = RunFolder(run).manifest().manifest, RunFolder(run).tokenizer()
    state, settings = initial_state(run, manifest), Settings(cache=cache, device="cpu")
    sums = GradientAccumulator(model_from_vector(manifest.model, state.parameters), state.layout)
    batches, size = training_data(manifest, tokenizer, settings, "alone", lambda words: None), MicroBatch(16, print)
    local, work = manifest.training.local, None
    if manifest.training.mode == "gradient":
        averager = Alone(manifest.training.global_batch)
        work = GradientWork(state, sums, batches, size, lambda samples: None)
    else:
        averager = Alone(local.inner_steps * local.inner_batch)
        inner = InnerOptimizer(sums.model, state.layout, manifest.optimizer)
        work = LocalWork(manifest, state, sums, inner, batches, micro_batch=size, tell=lambda samples: None)
    while state.step < steps:
        gift = work.contribution(state.step, averager)
        member = Member("alone", gift.samples, gift.weight)
        outcome = Averaged(state.step, FloatMean(gift.vector, state.span_size), (member,))
        state.apply(outcome)
        work.update(outcome)
    return state


def bits(manifest: Manifest, run: Path, state: SharedState) -> float:
    """Bits per byte of held-out text, mean of the languages."""
    tokenizer = load(RunFolder(run).tokenizer())
    text = held_out(manifest.data, None, tokenizer, sequence_length=manifest.model.sequence_length, sequences=64)
    assert text is not None
    model = model_from_vector(manifest.model, state.parameters)
    found = [bits_per_byte(model, windows, tokenizer.token_bytes) for windows in text.windows.values()]
    return sum(value for value in found if value is not None) / len(found)
