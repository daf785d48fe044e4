"""The flat float32 vector: every trained value of the model in one fixed order, tied weights once.

Gradient, shared state, averaging and checkpoints all speak of this vector and never of tensors. The layout follows from
the manifest alone, in closed form, so a file or a message can be checked against it before any memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from swarm.run.schema import ModelSpec

if TYPE_CHECKING:
    from transformers import BloomForCausalLM


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the flat vector: `vector[offset : offset + size].reshape(shape)`."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def slice(self) -> slice:
        return slice(self.offset, self.offset + self.size)

    @property
    def is_matrix(self) -> bool:
        """Matrices and the embedding decay; biases and layer norms do not."""
        return len(self.shape) > 1


@dataclass(frozen=True)
class Layout:
    """Names, shapes and offsets in the order of transformers' `BloomForCausalLM.named_parameters()`."""

    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, spec: ModelSpec) -> Layout:
        """The layout of a BLOOM model; the output embedding is the input embedding and takes no place of its own."""
        tensors, offset = [], 0
        for name, shape in _bloom(spec):
            tensors.append(Tensor(name, shape, offset))
            offset += tensors[-1].size
        return cls(tuple(tensors))

    @cached_property
    def size(self) -> int:
        """Values in the flat vector."""
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def decayed(self) -> tuple[slice, ...]:
        """The parts of the vector that weight decay applies to, in order, neighbours merged."""
        parts: list[slice] = []
        for tensor in self.tensors:
            if not tensor.is_matrix:
                continue
            if parts and parts[-1].stop == tensor.offset:
                parts[-1] = slice(parts[-1].start, tensor.slice.stop)
            else:
                parts.append(tensor.slice)
        return tuple(parts)

    def tensor_at(self, index: int) -> Tensor:
        """The tensor that holds the value at `index`: errors name tensors, not numbers."""
        return next(tensor for tensor in self.tensors if index < tensor.slice.stop)

    def views(self, vector: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Every tensor as a shaped view of `vector`, (size,)."""
        assert vector.shape == (self.size,), f"vector of {vector.shape}, layout of {self.size}"
        for tensor in self.tensors:
            yield tensor, vector[tensor.slice].reshape(tensor.shape)

    def gather(self, model: BloomForCausalLM) -> np.ndarray:
        """The model's parameters as a new (size,) float32 vector, from whatever device and precision they are in."""
        import torch

        parameters = dict(model.named_parameters())
        vector = np.empty(self.size, dtype=np.float32)
        with torch.no_grad():
            for tensor, view in self.views(vector):
                torch.from_numpy(view).copy_(parameters[tensor.name])
        return vector

    def scatter(self, vector: np.ndarray, model: BloomForCausalLM) -> None:
        """Write a (size,) float32 vector into the model's parameters, in place."""
        import torch

        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for tensor, view in self.views(vector):
                parameters[tensor.name].copy_(torch.from_numpy(view))


def _bloom(spec: ModelSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    """BLOOM's parameters as transformers names and orders them (a test compares)."""
    h = spec.hidden_size

    def affine(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"transformer.{name}.weight", shape
        yield f"transformer.{name}.bias", shape[:1]

    yield "transformer.word_embeddings.weight", (spec.vocab_size, h)
    yield from affine("word_embeddings_layernorm", h)
    for layer in range(spec.layers):
        yield from affine(f"h.{layer}.input_layernorm", h)
        yield from affine(f"h.{layer}.self_attention.query_key_value", 3 * h, h)
        yield from affine(f"h.{layer}.self_attention.dense", h, h)
        yield from affine(f"h.{layer}.post_attention_layernorm", h)
        yield from affine(f"h.{layer}.mlp.dense_h_to_4h", 4 * h, h)
        yield from affine(f"h.{layer}.mlp.dense_4h_to_h", h, 4 * h)
    yield from affine("ln_f", h)
