"""Memory that runs out: the micro-batch shrinks, and the contribution is the one it would have been."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from peers.training.work import GradientWork
from swarm.averaging.averager import Contribution
from swarm.errors import ResourceError
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import FIRST_SCALE, GradientAccumulator
from swarm.model.initial import initial_vector
from swarm.model.layout import Layout
from swarm.model.memory import AgainError, MicroBatch, is_out_of_memory
from swarm.run.schema import ModelSpec

SPEC = ModelSpec(vocab_size=300, hidden_size=16, layers=1, heads=2, sequence_length=12)
LAYOUT = Layout.of(SPEC)
SAMPLES = 12


@dataclass
class Ref:
    language: str = "en"


class Text:
    """Batches of seeded tokens: sample i is always the same."""

    def begin(self, step: int, roster: tuple[str, ...], read: int = 0) -> None:
        self.drawn = 0

    def next(self, samples: int) -> Any:
        rows = [np.random.default_rng(self.drawn + i).integers(0, 300, 12) for i in range(samples)]
        self.drawn += samples
        ids = np.stack(rows)
        return type("Batch", (), {"input_ids": ids, "labels": ids, "refs": [Ref()] * samples})()


class Full:
    def due(self, step: int, samples: int) -> bool:
        return samples >= SAMPLES

    def roster(self) -> tuple[str, ...]:
        return ()


def work(micro_batch: MicroBatch, precision: Any = "float32") -> GradientWork:
    model = model_from_vector(SPEC, initial_vector(SPEC))
    sums = GradientAccumulator(model, LAYOUT, precision=precision)
    state: Any = SimpleNamespace(samples=0)
    return GradientWork(state, sums, Text(), micro_batch, lambda samples: None)  # type: ignore[arg-type]


def contribute(one: GradientWork) -> Contribution:
    return one.contribution(0, Full())  # type: ignore[arg-type]


def test_running_out_halves_the_micro_batch_and_loses_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    small = work(MicroBatch(6, said.append))
    real = small.accumulator.model.forward

    def tight(input_ids: torch.Tensor, **options: Any) -> Any:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(input_ids=input_ids, **options)

    monkeypatch.setattr(small.accumulator.model, "forward", tight)
    gift, wanted = contribute(small), contribute(work(MicroBatch(2, said.append)))
    assert gift.samples == wanted.samples == SAMPLES
    assert gift.vector.tobytes() == wanted.vector.tobytes()
    assert small.micro_batch.size == 2
    assert said == [
        "Memory ran out: computing 3 samples at a time from now on.",
        "Memory ran out: computing 2 samples at a time from now on.",
    ]


def test_what_breaks_in_the_middle_of_a_backward_pass_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = work(MicroBatch(4, print))
    calls = 0

    def failing(tensor: torch.Tensor, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        real(tensor, *arguments, **options)
        if calls == 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")

    real = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", failing)
    gift = contribute(broken)
    monkeypatch.undo()
    assert calls > 2
    assert gift.vector.tobytes() == contribute(work(MicroBatch(2, print))).vector.tobytes()


def test_one_sample_that_does_not_fit_is_one_clear_line() -> None:
    with pytest.raises(ResourceError, match="Memory ran out, with one sample at a time: close other programs"):
        MicroBatch(1, print).shrink("Memory ran out")


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_little_memory_on_the_host_shrinks_but_not_at_every_turn_and_never_below_one() -> None:
    said: list[str] = []
    free = [100 << 20, 16 << 30]
    batch = MicroBatch(8, said.append, lambda: (free[0], free[1]))
    for _ in range(9):
        batch.breathe()
    assert batch.size == 4
    for _ in range(100):
        batch.breathe()
    assert batch.size == 1
    assert said[0] == "This machine has 100 MiB of memory left: computing 4 samples at a time from now on."
    plenty = MicroBatch(8, said.append, lambda: (8 << 30, 16 << 30))
    for _ in range(100):
        plenty.breathe()
    assert plenty.size == 8


def test_bfloat16_and_float16_are_near_float32() -> None:
    exact = contribute(work(MicroBatch(4, print))).vector
    for precision in ("bfloat16", "float16"):
        near = contribute(work(MicroBatch(4, print), precision)).vector
        error = np.linalg.norm(near - exact) / np.linalg.norm(exact)
        assert 0 < error < 0.03, precision


def test_a_scale_that_overflows_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    one = work(MicroBatch(4, print), "float16")
    one.accumulator.scale = 2.0**40
    gift = contribute(one)
    assert one.accumulator.scale < 2.0**40
    exact = contribute(work(MicroBatch(4, print))).vector
    assert np.linalg.norm(gift.vector - exact) / np.linalg.norm(exact) < 0.03
    assert one.micro_batch.size == 4
    assert FIRST_SCALE > 1
    assert issubclass(AgainError, Exception)
