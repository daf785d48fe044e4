"""The gradient of many micro-batches, summed where the model lives, handed over as one flat vector.

A sample weighs one, however many of its tokens are predicted: the loss of a sample is the mean over its tokens, the
contribution is the mean over samples. So the result does not depend on how samples are cut into micro-batches or spread
over peers, except for rounding.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from transformers import BloomForCausalLM

from swarm.averaging.averager import Contribution
from swarm.errors import RunFailedError
from swarm.model.layout import Layout
from swarm.model.memory import AgainError, MemoryShortError, is_out_of_memory

Precision = Literal["float32", "bfloat16", "float16"]
FIRST_SCALE = 2.0**15  # of the loss in float16, whose gradients would vanish otherwise; halved when they overflow, ...
CALM_STEPS = 1000  # ... and doubled again after so many sums that did not
LARGEST_SCALE = 2.0**24
IGNORED = -100  # label of a token that is not predicted, as in torch


class Ref(Protocol):
    """Where a sample comes from; only its language matters here."""

    @property
    def language(self) -> str: ...


class TrainingBatch(Protocol):
    """input_ids, labels: (b, s) int64, numpy or torch; labels are shifted here, IGNORED is no prediction; refs: b."""

    @property
    def input_ids(self) -> Any: ...
    @property
    def labels(self) -> Any: ...
    @property
    def refs(self) -> Sequence[Ref]: ...


@dataclass(frozen=True)
class Compiled:
    """A faster way through the same model, for micro-batches of (b, s) = `shape` only: others would compile anew.

    failed(error): called once, when it could not be used after all; the model itself is used from then on.
    """

    shape: tuple[int, int]
    forward: Callable[..., Any]
    failed: Callable[[BaseException], None]


class GradientAccumulator:
    """Sums gradients over `add`, on the model's device; counts samples, tokens and losses until `reset`."""

    devices = 1  # that share the work

    def __init__(self, model: BloomForCausalLM, layout: Layout, *, precision: Precision = "float32") -> None:
        """Weights and sums stay float32; the others only compute in theirs (torch's autocast)."""
        self.model = model
        self.layout = layout
        self.precision = precision
        self.device = model.device
        self.compiled: Compiled | None = None
        self.samples = 0
        self.loss_sum = 0.0
        self.scale = FIRST_SCALE if precision == "float16" else 1.0
        self.calm = 0  # sums in a row that did not overflow
        self.languages: Counter[str] = Counter()  # samples by language
        self.tokens: Counter[str] = Counter()  # input tokens by language
        self.losses: defaultdict[str, float] = defaultdict(float)  # sums over samples, by language
        self._sum = torch.zeros(layout.size, dtype=torch.float32, device=self.device)
        parameters = dict(model.named_parameters())
        for tensor in layout.tensors:  # autograd then adds into the flat vector by itself
            parameters[tensor.name].grad = self._sum[tensor.slice].view(tensor.shape)

    def add(self, batch: TrainingBatch) -> float:
        """Forward and backward of one micro-batch; its mean loss, nats a token.

        RunFailedError if it is not finite. MemoryShortError where memory ran out: the sums are spoiled then.
        """
        losses = self.compute(batch.input_ids, batch.labels)
        self.count(batch.refs, batch.input_ids.shape[1], losses)
        return math.fsum(losses) / len(losses)

    def compute(self, ids: np.ndarray, labels: np.ndarray) -> list[float]:
        """Add the gradients of (b, s) ids, and count nothing: the loss of each sample. Errors as of `add`."""
        inside = tuple(on_device(part, self.device) for part in (ids, labels))
        compiled = self.compiled if self.compiled is not None and self.compiled.shape == tuple(ids.shape) else None
        try:
            return self._forward_and_backward(compiled.forward if compiled else self.model, *inside)
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryShortError("Memory ran out") from None
            if compiled is None:
                raise
            self.compiled = None  # the model as it is tells whether the fault was its own
            compiled.failed(error)
            raise AgainError("The compiled model failed") from None

    def count(self, refs: Sequence[Ref], length: int, losses: Sequence[float]) -> None:
        """Samples of `length` tokens whose gradients are in the sums, and the loss of each."""
        self.samples += len(refs)
        self.loss_sum += math.fsum(losses)
        for ref, loss in zip(refs, losses, strict=True):
            self.languages[ref.language] += 1
            self.tokens[ref.language] += length
            self.losses[ref.language] += loss

    def give(self, place: torch.Tensor) -> None:
        """Move the sums, (size,) float32, to `place`: they are zero then."""
        place.copy_(self._sum)
        self._sum.zero_()

    def _forward_and_backward(
        self, forward: Callable[..., Any], ids: torch.Tensor, labels: torch.Tensor
    ) -> list[float]:
        """The loss of each sample. Nobody holds the logits, the largest tensor of all, while gradients are computed."""
        losses = sample_losses(self._logits(forward, ids), labels)
        told: list[float] = losses.detach().tolist()
        if not all(map(math.isfinite, told)):
            raise RunFailedError(
                f"the loss of a micro-batch is {sum(told)}: training diverged or this device computes wrongly; "
                "try --device cpu, or a lower learning rate"
            )
        (losses.sum() * self.scale).backward()
        return told

    def _logits(self, forward: Callable[..., Any], ids: torch.Tensor) -> torch.Tensor:
        """(b, s, vocabulary)."""
        with self._computing():
            logits: torch.Tensor = forward(input_ids=ids, use_cache=False).logits
        return logits

    def settle(self) -> None:
        """Take the scale out of the sums. AgainError where it was too large for float16: it is halved."""
        if self.scale == 1.0 or not self.samples:
            return
        if self.precision == "float16" and not bool(torch.isfinite(self._sum).all()) and self.scale > 1.0:
            self.scale /= 2
            self.calm = 0
            raise AgainError("A gradient overflowed in float16")
        self._sum.div_(self.scale)
        self.calm += 1
        if self.precision == "float16" and self.calm % CALM_STEPS == 0:
            self.scale = min(2 * self.scale, LARGEST_SCALE)

    def contribution(self, *, staleness: int = 0) -> Contribution:
        """The mean gradient over all samples since `reset`, as a new vector; weight 0 without any.

        RunFailedError names the first tensor with a value that is not finite.
        """
        self.settle()
        vector = self._sum.cpu().numpy() / np.float32(max(1, self.samples))
        finite = np.isfinite(vector)
        if not finite.all():
            name = self.layout.tensor_at(int(finite.argmin())).name
            raise RunFailedError(
                f"the gradient of {name} is not finite: training diverged or this device computes wrongly; "
                "try --device cpu, or a lower learning rate"
            )
        return Contribution(vector, weight=float(self.samples), samples=self.samples, staleness=staleness)

    @property
    def mean_loss(self) -> float | None:
        """Nats a token over all samples since `reset`; None without any."""
        return self.loss_sum / self.samples if self.samples else None

    def reset(self) -> None:
        """Forget everything: the next step begins."""
        self._sum.zero_()
        self.samples, self.loss_sum = 0, 0.0
        self.languages.clear()
        self.tokens.clear()
        self.losses.clear()

    def _computing(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.precision))


def on_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """To a GPU from pinned memory, so that nobody waits until the GPU is done with what it was given before."""
    tensor = torch.as_tensor(values)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def sample_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(b,) mean cross-entropy of each sample in nats a token: logits[:, i] predicts labels[:, i + 1].

    The last position predicts nothing. It stays among the logits: without it all others would be copied, twice.
    """
    targets = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(targets.shape)
    return losses.sum(dim=1) / (targets != IGNORED).sum(dim=1).clamp(min=1)
