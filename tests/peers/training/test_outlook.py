"""What `create --dry-run` promises of this machine, against a peer that trains here: right within 20 %."""

from __future__ import annotations

import statistics
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from peers.checks.pace import round_seconds
from peers.training.outlook import PEERS, Outlook, exchanged, outlook
from swarm.averaging.averager import Contribution
from swarm.averaging.simulated import SimulatedSwarm
from swarm.run.manifest import RunConfig, load_config
from swarm.run.sizing import cpu_memory, device_memory, host_memory, parameters
from swarm.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
WITHIN = 0.2


def test_bytes_of_a_round_are_those_that_are_sent() -> None:
    config = load_config(ROOT / "configs" / "tiny.toml")
    size = parameters(config.model)
    swarm = SimulatedSwarm(config.averaging.model_copy(update={"span_size": 16_384}), size)
    vector = np.ones(size, np.float32)
    names = [str(number) for number in range(PEERS)]
    for name in names:
        swarm.join(name)
    outcomes = swarm.round({name: Contribution(vector, 1.0, 1) for name in names})
    sent = statistics.mean(outcome.stats.bytes_sent for outcome in outcomes.values())
    assert exchanged(config) == pytest.approx(sent, rel=0.02)


def test_a_model_that_does_not_fit_is_not_measured() -> None:
    def never(config: RunConfig, settings: Settings) -> float:
        raise AssertionError("measured")

    found = outlook(load_config(ROOT / "configs" / "bloom-7b1.toml"), Settings(device="cpu"), never)
    assert found.memory_bytes > psutil.virtual_memory().available
    assert found.step_seconds is None
    assert "too large for cpu here" in found.lines()[1]


def test_steps_and_traffic_follow_from_the_measured_speed() -> None:
    config = load_config(ROOT / "configs" / "tiny.toml")
    found = outlook(config, Settings(), lambda config, settings: 10.0)
    assert found.round_seconds is not None
    assert found.step_seconds == pytest.approx(config.training.global_batch / (10.0 * PEERS) + found.round_seconds)
    assert found.bytes_per_hour == pytest.approx(exchanged(config) * 3600 / found.step_seconds)
    assert "here" in found.lines()[0]


def on_a_gpu(host: float, own: float, name: str = "small") -> Outlook:
    """With so many GB of memory free. The device itself is not here: it is named, and the speed is told."""

    def free(device: torch.device | None) -> int:
        return int(1e9 * (host if device is None else own))

    config, gpu = load_config(ROOT / "configs" / f"{name}.toml"), torch.device("cuda:0")
    return outlook(config, Settings(), lambda config, settings: 50.0, device=gpu, free=free)


def test_on_a_gpu_its_own_memory_counts_and_the_figures_are_said_to_be_its() -> None:
    config, found = load_config(ROOT / "configs" / "small.toml"), on_a_gpu(host=24, own=80)
    assert found.device == "cuda:0"
    assert found.samples > outlook(config, Settings(), lambda config, settings: 1.0).samples
    assert found.device_memory_bytes == device_memory(config, found.samples)
    assert found.memory_bytes == host_memory(config) < cpu_memory(config, found.samples)
    assert found.lines()[0].startswith("here         on cuda:0, ")
    assert "of its own memory (80 GB are free)" in found.lines()[0]
    assert "tokens/s as measured on cuda:0" in found.lines()[1]


def test_a_small_gpu_computes_fewer_samples_and_one_that_is_too_small_is_not_measured() -> None:
    config = load_config(ROOT / "configs" / "small.toml")
    least = device_memory(config, 1) / 1e9
    assert 1 <= on_a_gpu(host=24, own=3 * least).samples < on_a_gpu(host=24, own=80).samples
    short = on_a_gpu(host=24, own=0.9 * least)
    assert short.step_seconds is None
    assert short.lines()[1].endswith("too large for cuda:0 here: its speed was not measured")
    assert on_a_gpu(host=0.1, own=80).step_seconds is None  # the shared state lives beside it


def test_a_processor_says_that_the_figures_are_its() -> None:
    found = outlook(load_config(ROOT / "configs" / "tiny.toml"), Settings(device="cpu"), lambda *_: 10.0)
    assert found.lines()[0].startswith("here         on cpu, ")
    assert found.device_memory_bytes is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_real_gpu_is_measured() -> None:
    found = outlook(load_config(ROOT / "configs" / "tiny.toml"), Settings())
    assert found.device == "cuda:0"
    assert (found.samples_per_second or 0.0) > 0.0


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["gradient", "local"])
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_memory_and_speed_are_those_of_a_peer_that_trains(name: str, mode: str) -> None:
    with get_context("spawn").Pool(1) as pool:
        told, seen = pool.apply(training, (name, mode))
    print(name, mode, told, seen)
    assert told["memory"] == pytest.approx(seen["memory"], rel=WITHIN), (told, seen)
    assert told["rate"] == pytest.approx(seen["rate"], rel=WITHIN), (told, seen)


def training(name: str, mode: str) -> tuple[dict[str, float], dict[str, float]]:
    """In a process of its own: what is promised, and the peak and speed of a real, lone peer."""
    from benchmarks.lone_peer import LonePeer, made
    from benchmarks.resident import peak_bytes, reset_peak
    from benchmarks.step import MODEL

    config = load_config(ROOT / "configs" / f"{name}.toml")
    samples = outlook(config, Settings(threads=1), lambda config, settings: 1.0).samples
    shape = config.model.model_dump(include=set(MODEL))
    batch = samples * (24 if name == "tiny" else 4)
    with made(shape, mode, batch, samples) as text, LonePeer(text, samples) as peer:
        rates: list[tuple[float, float]] = []
        for turn in range(4):
            told = outlook(text.manifest, Settings(threads=1, micro_batch=samples))
            began = time.perf_counter()
            trained = peer.turn(batch)
            seconds = time.perf_counter() - began
            if turn:
                promised_seconds = batch / (told.samples_per_second or 1e-9) + round_seconds(text.manifest, 1)
                rates.append((batch / promised_seconds, trained / seconds))
        peer.rounds.weighing = True  # which takes time
        reset_peak()
        peer.turn(batch)
        highest = max(peak_bytes(), peer.peak_before_round())
        daemons = sum(child.memory_info().rss for child in psutil.Process().children() if "p2pd" in child.name())
        promised = {"memory": float(cpu_memory(text.manifest, samples)), "rate": statistics.median(r for r, _ in rates)}
        return promised, {"memory": float(highest + daemons), "rate": statistics.median(r for _, r in rates)}
