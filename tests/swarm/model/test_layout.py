"""The flat vector against transformers' own parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BloomForCausalLM

from swarm.model.bloom import bloom_config, model_from_vector
from swarm.model.layout import Layout
from swarm.run.schema import ModelSpec

SPEC = ModelSpec(vocab_size=300, hidden_size=32, layers=2, heads=4, sequence_length=16)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_closed_form_is_transformers_order_names_and_shapes(layers: int) -> None:
    spec = SPEC.model_copy(update={"layers": layers})
    model = BloomForCausalLM(bloom_config(spec))
    layout = Layout.of(spec)
    found = [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    assert [(tensor.name, tensor.shape) for tensor in layout.tensors] == found
    assert layout.size == sum(parameter.numel() for parameter in model.parameters())


def test_scatter_and_gather_are_inverse_and_tied_weights_count_once() -> None:
    layout = Layout.of(SPEC)
    vector = np.arange(layout.size, dtype=np.float32)
    model = model_from_vector(SPEC, vector)
    assert (layout.gather(model) == vector).all()
    assert model.lm_head.weight is model.transformer.word_embeddings.weight
    layout.scatter(-vector, model)
    assert (layout.gather(model) == -vector).all()
    assert (model.lm_head.weight.detach().numpy().ravel() == -vector[: 300 * 32]).all()


def test_gather_is_a_copy_and_widens_other_precisions() -> None:
    layout = Layout.of(SPEC)
    model = model_from_vector(SPEC, np.ones(layout.size, np.float32)).to(torch.bfloat16)
    vector = layout.gather(model)
    vector[:] = 5
    assert (layout.gather(model) == 1).all()
    assert vector.dtype == np.float32


def test_matrices_and_the_embedding_decay_biases_and_norms_do_not() -> None:
    layout = Layout.of(SPEC)
    decayed = np.zeros(layout.size, bool)
    for part in layout.decayed:
        assert not decayed[part].any()
        decayed[part] = True
    for tensor in layout.tensors:
        is_matrix = tensor.name.endswith("weight") and "norm" not in tensor.name and "ln_f" not in tensor.name
        assert decayed[tensor.slice].all() == decayed[tensor.slice].any() == is_matrix, tensor.name


def test_an_index_names_its_tensor() -> None:
    layout = Layout.of(SPEC)
    assert layout.tensor_at(0).name == "transformer.word_embeddings.weight"
    assert layout.tensor_at(300 * 32).name == "transformer.word_embeddings_layernorm.weight"
    assert layout.tensor_at(layout.size - 1).name == "transformer.ln_f.bias"
