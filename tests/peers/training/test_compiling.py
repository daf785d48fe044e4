"""`torch.compile` beside training: used where it is right and faster, and one line where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peers.training.compile_trial import compiled_forward
from peers.training.compiling import AFTER_SECONDS, LEAST_GAIN, MOST_ERROR, Compiling, Order
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import Compiled, GradientAccumulator, Precision
from swarm.model.initial import initial_vector
from swarm.model.layout import Layout
from swarm.model.memory import AgainError
from swarm.run.schema import ModelSpec

SPEC = ModelSpec(vocab_size=512, hidden_size=32, layers=2, heads=2, sequence_length=32)
ORDER = Order(SPEC, "cpu", "float32", checkpointing=False, threads=1, samples=2, memory_bytes=0)
GAINED = {"plain": 2.0, "compiled": 1.0, "compiling": 9.0, "error": 1e-6}


def sums(precision: Precision = "float32", *, checkpointing: bool = False) -> GradientAccumulator:
    model = model_from_vector(SPEC, initial_vector(SPEC))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return GradientAccumulator(model, Layout.of(SPEC), precision=precision)


def batch(samples: int = 2) -> Any:
    ids = np.random.default_rng(3).integers(0, SPEC.vocab_size, (samples, SPEC.sequence_length))
    return SimpleNamespace(input_ids=ids, labels=ids, refs=[SimpleNamespace(language="en")] * samples)


def compiling(folder: Path, said: list[str], order: Order = ORDER, **more: Any) -> Compiling:
    values = {"wish": "on", "say": said.append, "resting": bool, "free": lambda: 1} | more
    return Compiling(sums(), order, folder, **values)


def test_without_a_compiler_the_model_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    tried = compiling(tmp_path, said)
    tried.run()
    assert said == ["The model is not compiled: there is no C++ compiler (on Debian: apt install g++)."]
    assert tried.sums.compiled is None


def test_who_did_not_ask_does_not_hear_of_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(AFTER_SECONDS, "auto", 0.0)
    said: list[str] = []
    compiling(tmp_path, said, wish="auto").run()
    assert said == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (GAINED | {"compiled": 2.5}, "0.80 times as fast"),
        (GAINED | {"error": 0.2}, "its gradient is 0.2 off"),
        (GAINED | {"error": float("nan")}, "its gradient is nan off"),
        (None, "The model is not compiled: torch.compile fails"),
    ],
)
def test_it_is_used_only_where_it_is_right_and_faster(
    found: dict[str, float] | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    tried = compiling(tmp_path, said)
    monkeypatch.setattr("peers.training.compiling.missing", lambda device: None)
    monkeypatch.setattr(tried, "tried", lambda: found or "torch.compile fails on this machine")
    tried.run()
    assert tried.sums.compiled is None
    assert len(said) == 1
    assert words in said[0]


def test_a_compiled_model_that_fails_is_left_and_the_samples_come_again() -> None:
    def broken(**inputs: Any) -> None:
        raise ZeroDivisionError("of the compiler's")

    accumulator, failures = sums(), list[BaseException]()
    accumulator.compiled = Compiled((2, SPEC.sequence_length), broken, failures.append)
    accumulator.add(batch(1))  # of another shape: the model itself
    with pytest.raises(AgainError):
        accumulator.add(batch())
    assert [str(error) for error in failures] == ["of the compiler's"]
    accumulator.reset()
    accumulator.add(batch())
    expected = sums()
    expected.add(batch())
    assert np.array_equal(accumulator.contribution().vector, expected.contribution().vector)


def test_a_trial_is_ended_while_the_peer_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr("peers.training.compiling._end", lambda process: (process.kill(), ended.append(process.wait())))
    assert compiling(tmp_path, [], resting=lambda: True).tried() is None
    assert ended == [-9]


@pytest.mark.slow
def test_a_trial_that_fails_is_one_line(tmp_path: Path) -> None:
    said: list[str] = []
    tried = compiling(tmp_path, said, replace(ORDER, device="mps:7"))  # no such device here
    tried.run()
    assert len(said) == 1
    assert "torch.compile fails on this machine" in said[0]
    assert "\n" not in said[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("precision", "checkpointing"), [("float32", False), ("bfloat16", True)])
def test_a_compiled_model_gives_the_same_gradient(precision: Precision, checkpointing: bool) -> None:
    plain, other = (sums(precision, checkpointing=checkpointing) for _ in range(2))
    other.compiled = Compiled((2, SPEC.sequence_length), compiled_forward(other.model), _fail)
    losses = [one.add(batch()) for one in (plain, other)]
    assert other.compiled is not None
    assert losses[1] == pytest.approx(losses[0], rel=1e-5 if precision == "float32" else 1e-2)
    gradients = [one.contribution().vector for one in (plain, other)]
    error = np.linalg.norm(gradients[1] - gradients[0]) / np.linalg.norm(gradients[0])
    assert error < MOST_ERROR[precision]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_beside_training_ends_in_a_model_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEAST_GAIN, "on", 0.0)
    said: list[str] = []
    tried = compiling(tmp_path, said)
    tried.start()
    while tried.thread.is_alive():
        tried.sums.reset()
        tried.sums.add(batch())
    assert tried.sums.compiled is not None, said
    assert "times as fast" in said[0]
    tried.sums.reset()
    loss = tried.sums.add(batch())
    assert tried.sums.compiled is not None, said
    assert loss == pytest.approx(sums().add(batch()), rel=1e-5)
    assert any((tmp_path / "compiled").iterdir())


def _fail(error: BaseException) -> None:
    raise error
