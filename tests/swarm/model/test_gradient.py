"""The accumulator against plain autograd: the gradient of the whole batch, however it is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from swarm.errors import RunFailedError
from swarm.model.bloom import model_from_vector
from swarm.model.gradient import IGNORED, GradientAccumulator, Precision, on_device, sample_losses
from swarm.model.initial import initial_vector
from swarm.model.layout import Layout
from swarm.run.schema import ModelSpec

SPEC = ModelSpec(vocab_size=300, hidden_size=32, layers=2, heads=4, sequence_length=16)
LAYOUT = Layout.of(SPEC)
SAMPLES = 12


@dataclass(frozen=True)
class Ref:
    language: str


@dataclass(frozen=True)
class Batch:
    input_ids: np.ndarray
    labels: np.ndarray
    refs: tuple[Ref, ...]


def batch(part: slice = slice(None)) -> Batch:
    """Samples of unlike lengths: the labels of the last ones are partly ignored."""
    ids = np.random.default_rng(5).integers(0, 300, (SAMPLES, 16))
    labels = ids.copy()
    for row in range(SAMPLES):
        labels[row, 16 - row :] = IGNORED
    refs = tuple(Ref("en" if row % 3 else "sw") for row in range(SAMPLES))
    return Batch(ids[part], labels[part], refs[part])


def sums(precision: Precision = "float32", vector: np.ndarray | None = None) -> GradientAccumulator:
    start = initial_vector(SPEC) if vector is None else vector
    return GradientAccumulator(model_from_vector(SPEC, start), LAYOUT, precision=precision)


def by_autograd() -> tuple[np.ndarray, float]:
    """Mean over samples of the mean over a sample's predicted tokens, with nothing of ours but the model."""
    model = model_from_vector(SPEC, initial_vector(SPEC))
    whole = batch()
    logits = model(input_ids=torch.from_numpy(whole.input_ids)).logits
    losses = [
        torch.nn.functional.cross_entropy(logits[row, :-1], torch.from_numpy(whole.labels[row, 1:]))
        for row in range(SAMPLES)
    ]
    loss = torch.stack(losses).mean()
    loss.backward()
    parameters = dict(model.named_parameters())
    flat = [parameters[tensor.name].grad.numpy().ravel() for tensor in LAYOUT.tensors]
    return np.concatenate(flat), float(loss.detach())


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("cut", [[12], [1] * 12, [5, 7], [4, 4, 4], [1, 2, 3, 6]])
def test_any_cut_gives_the_gradient_of_the_whole_batch(cut: list[int]) -> None:
    wanted, loss = by_autograd()
    accumulator, start = sums(), 0
    for size in cut:
        accumulator.add(batch(slice(start, start + size)))
        start += size
    gift = accumulator.contribution()
    assert error(gift.vector, wanted) < 1e-6
    assert accumulator.mean_loss == pytest.approx(loss, rel=1e-6)
    assert (gift.samples, gift.weight) == (SAMPLES, float(SAMPLES))


def test_peers_weighted_by_their_samples_give_the_same() -> None:
    wanted, _ = by_autograd()
    gifts = []
    for part in (slice(0, 2), slice(2, 12)):
        one = sums()
        one.add(batch(part))
        gifts.append(one.contribution())
    mean = sum(gift.vector * np.float32(gift.weight / SAMPLES) for gift in gifts)
    assert error(np.asarray(mean), wanted) < 1e-6


@pytest.mark.parametrize(("precision", "bound"), [("bfloat16", 0.03), ("float16", 0.01)])
def test_lower_precision_stays_near(precision: Precision, bound: float) -> None:
    wanted, loss = by_autograd()
    accumulator = sums(precision)
    accumulator.add(batch())
    vector = accumulator.contribution().vector
    assert vector.dtype == np.float32
    assert 0 < error(vector, wanted) < bound
    assert accumulator.mean_loss == pytest.approx(loss, rel=0.01)
    assert all(parameter.dtype == torch.float32 for parameter in accumulator.model.parameters())


def test_counts_and_reset() -> None:
    accumulator = sums()
    assert accumulator.mean_loss is None
    first = accumulator.add(batch(slice(0, 3)))
    assert dict(accumulator.languages) == {"sw": 1, "en": 2}
    assert dict(accumulator.tokens) == {"sw": 16, "en": 32}
    kept = accumulator.contribution().vector
    accumulator.reset()
    assert (accumulator.samples, accumulator.mean_loss, dict(accumulator.tokens)) == (0, None, {})
    assert not accumulator.contribution().vector.any()
    assert accumulator.contribution().weight == 0
    assert kept.any(), "a contribution is the caller's own"
    assert accumulator.add(batch(slice(0, 3))) == first
    assert (accumulator.contribution().vector == kept).all()


def test_a_sample_without_predicted_tokens_weighs_nothing_and_breaks_nothing() -> None:
    losses = sample_losses(torch.zeros(2, 4, 300), torch.tensor([[1, 2, 3, 4], [1, IGNORED, IGNORED, IGNORED]]))
    assert losses.tolist() == pytest.approx([np.log(300), 0])


def test_a_loss_that_is_not_finite_is_named() -> None:
    vector = initial_vector(SPEC)
    vector[LAYOUT.tensors[-2].slice] = np.inf  # ln_f's weight
    with pytest.raises(RunFailedError, match=r"the loss of a micro-batch is nan: training diverged .*--device cpu"):
        sums(vector=vector).add(batch(slice(0, 1)))


def test_a_gradient_that_is_not_finite_is_named_by_its_tensor() -> None:
    accumulator = sums()
    accumulator.add(batch(slice(0, 1)))
    dict(accumulator.model.named_parameters())["transformer.h.1.mlp.dense_h_to_4h.bias"].grad[3] = float("inf")
    with pytest.raises(
        RunFailedError, match=r"the gradient of transformer\.h\.1\.mlp\.dense_h_to_4h\.bias is not fini"
    ):
        accumulator.contribution()


def test_a_batch_goes_to_a_gpu_from_pinned_memory_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none here: what is asked of torch is looked at. Elsewhere nothing is pinned."""
    asked: list[object] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        asked.append("pinned")
        return tensor

    def to(tensor: torch.Tensor, device: torch.device, **how: object) -> torch.Tensor:
        asked.append((device.type, how))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    values = np.arange(6).reshape(2, 3)
    assert on_device(values, torch.device("cuda")).tolist() == values.tolist()
    assert asked == ["pinned", ("cuda", {"non_blocking": True})]
    asked.clear()
    on_device(values, torch.device("cpu"))
    assert asked == [("cpu", {})]
