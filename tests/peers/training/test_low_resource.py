"""What a small machine is given: a micro-batch that fits its memory, and another optimizer where one cannot be had."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from peers.wiring import MEMORY_SHARE, inner_optimizer, micro_batch
from swarm.errors import ResourceError
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import GradientAccumulator
from swarm.model.initial import initial_vector
from swarm.model.inner import InnerOptimizer
from swarm.model.layout import Layout
from swarm.run.manifest import RunConfig, parse_config
from swarm.run.sizing import activation_bytes
from swarm.settings import Settings

MODEL = {"vocab_size": 512, "hidden_size": 32, "layers": 2, "heads": 2, "sequence_length": 32}


def config(**training: Any) -> RunConfig:
    values = {"name": "x", "model": MODEL, "data": {"sources": [{"kind": "starter"}]}}
    return parse_config(values | {"training": {"steps": 100, "global_batch": 64, **training}}, "the test")


def size(free: int, run: RunConfig | None = None, said: list[str] | None = None, **options: Any) -> int:
    """run: a manifest has the fields that matter here."""
    say, device = (said if said is not None else []).append, options.pop("device", None)
    return micro_batch(run or config(), Settings(**options), say, device=device, free=free).size  # type: ignore[arg-type]


def test_the_micro_batch_is_what_fits_and_at_least_one_sample() -> None:
    sample = activation_bytes(config().model)
    said: list[str] = []
    for samples in (1, 3, 7):
        assert size(int((samples + 0.5) * sample / MEMORY_SHARE), said=said) == samples
    assert size(0) == 1
    assert "computing 3 samples at a time" in said[1]
    assert size(int(7.5 * sample / MEMORY_SHARE), gradient_checkpointing=True) > 7


def test_with_memory_in_plenty_it_is_what_keeps_the_device_busy_within_the_batch() -> None:
    plenty = 1 << 40
    assert size(plenty) == 16  # 512 tokens on a processor
    assert size(plenty, device=torch.device("cuda")) == 64  # the whole batch: 512 samples would fit
    assert size(plenty, config(mode="local", local={"inner_batch": 4})) == 4
    assert size(0, micro_batch=9) == 9


def test_room_is_left_for_moments_that_are_made_later() -> None:
    sample, moments = activation_bytes(config().model), 8 * 41_920
    local = config(mode="local", local={"inner_batch": 16})
    free = int(4.3 * sample / MEMORY_SHARE)
    assert size(free, local) == 3
    assert size(free) == 4, "mode gradient has none"
    assert size(free, local, inner_optimizer="adamw-8bit") == 4
    assert size(moments // 2, local) == 1


def test_moments_that_do_not_fit_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    run = config(mode="local")
    sums = GradientAccumulator(model_from_vector(run.model, initial_vector(run.model)), Layout.of(run.model))
    inner = InnerOptimizer(sums.model, sums.layout, run.optimizer)

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(inner._optimizer, "step", full)
    with pytest.raises(ResourceError, match=r"optimizer's moments \(335 kB\): use --inner-optimizer adamw-8bit"):
        inner.step(1.0, 1e-3)


def test_without_bitsandbytes_torchs_optimizer_is_taken_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)  # as if it were not installed
    run, said = config(), []
    layout = Layout.of(run.model)
    sums = GradientAccumulator(model_from_vector(run.model, initial_vector(run.model)), layout)
    inner = inner_optimizer(run, sums, Settings(inner_optimizer="adamw-8bit"), said.append)  # type: ignore[arg-type]
    assert inner.kind == "adamw"
    assert len(said) == 1
    assert "bitsandbytes" in said[0]
    assert "Going on with torch's AdamW, which takes 252 kB more." in said[0]  # 6 bytes of 41,920 parameters
