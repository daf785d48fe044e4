"""Where a run's weights start: the same bytes everywhere, or an existing model's."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel

from swarm.errors import CheckpointError, ConfigError, IncompatibleError, NetworkError
from swarm.model.bloom import build_model, starting_vector
from swarm.model.initial import MEAN, SHARE, UNIFORMS, draw_normal, initial_vector, vector_digest
from swarm.model.layout import Layout
from swarm.run.schema import ModelSpec

ROOT = Path(__file__).resolve().parents[3]
SPEC = ModelSpec(vocab_size=300, hidden_size=32, layers=2, heads=4, sequence_length=16)
WRITTEN = {"format": "pt"}  # what transformers wants to see in a safetensors file
PINNED = "a37b748c6b4598e4a9e948d444a9cdeec7be0bffd00fb531af5add8cc5fef972"


def test_the_initial_digest_is_pinned() -> None:
    """A change here breaks every run that starts from a seed."""
    assert vector_digest(initial_vector(SPEC)) == PINNED


def test_the_values_are_normal_and_the_seed_and_the_name_matter() -> None:
    values = np.empty(400_000, np.float32)
    draw_normal(values, "0:a", 0.02)
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() / 0.02 - 1) < 0.01
    inside = [(np.abs(values) < limit * 0.02).mean() for limit in (1, 2, 3)]
    assert np.allclose(inside, [0.6827, 0.9545, 0.9973], atol=0.006)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    other = np.empty_like(values)
    draw_normal(other, "0:b", 0.02)
    assert abs(np.corrcoef(values, other)[0, 1]) < 0.01
    start = np.empty(1000, np.float32)
    draw_normal(start, "0:a", 0.02)
    assert (start == values[:1000]).all()


def test_what_threads_draw_apart_is_one_stream() -> None:
    """Digests of models of any size are in manifests: shares must never show."""
    whole = np.empty(3 * SHARE + 5, np.float32)
    draw_normal(whole, "0:a", 0.02)
    words = np.random.Philox(key=int.from_bytes(hashlib.sha256(b"0:a").digest()[:16], "little"))
    uniforms = words.random_raw(3 * whole.size).view(np.uint16).reshape(-1, UNIFORMS).sum(axis=1, dtype=np.int64)
    assert (whole == (uniforms - MEAN).astype(np.float32) * np.float32(0.02 / 2**16)).all()
    large = SPEC.model_copy(update={"vocab_size": 20_000})
    vector = initial_vector(large)
    for tensor, view in Layout.of(large).views(vector):
        if tensor.is_matrix:
            drawn = np.empty(tensor.size, np.float32)
            draw_normal(drawn, f"0:{tensor.name}", large.initializer_range)
            assert (view.reshape(-1) == drawn).all(), tensor.name


def test_layer_norms_begin_as_identity_and_biases_as_zero() -> None:
    for tensor, view in Layout.of(SPEC).views(initial_vector(SPEC)):
        if not tensor.is_matrix:
            assert (view == (1 if tensor.name.endswith("weight") else 0)).all(), tensor.name
        else:
            assert 0.01 < view.std() < 0.03, tensor.name


def test_a_new_model_predicts_about_as_well_as_chance() -> None:
    ids = torch.arange(32).reshape(2, 16)
    loss = build_model(SPEC)(input_ids=ids, labels=ids).loss
    assert abs(float(loss.detach()) - np.log(300)) < 0.3


def test_an_initial_digest_that_differs_is_an_error() -> None:
    assert vector_digest(starting_vector(SPEC.model_copy(update={"initial_digest": PINNED}))) == PINNED
    with pytest.raises(IncompatibleError, match=r"initial_seed 0 have digest .* 0000000000000000 in the manifest"):
        starting_vector(SPEC.model_copy(update={"initial_digest": "0" * 64}))


def existing(folder: Path, **other: object) -> tuple[Path, BloomForCausalLM]:
    values = {"vocab_size": 300, "hidden_size": 32, "n_layer": 2, "n_head": 4} | other
    model = BloomForCausalLM(BloomConfig(**values))
    model.save_pretrained(folder)
    return folder, model


def test_training_can_start_from_an_existing_model(tmp_path: Path) -> None:
    folder, model = existing(tmp_path / "model")
    ours = build_model(SPEC.model_copy(update={"initial_checkpoint": str(folder)})).eval()
    ids = torch.arange(16).reshape(1, 16)
    assert torch.equal(ours(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def test_an_existing_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder, _ = existing(tmp_path / "model", n_layer=3, vocab_size=301)
    with pytest.raises(ConfigError, match="vocab_size 300 here, 301 there; layers 2 here, 3 there"):
        build_model(SPEC.model_copy(update={"initial_checkpoint": str(folder)}))


def test_a_folder_without_a_model_and_a_model_that_is_no_bloom_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no model"):
        build_model(SPEC.model_copy(update={"initial_checkpoint": str(tmp_path)}))
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=4)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ConfigError, match="is a gpt2 model"):
        build_model(SPEC.model_copy(update={"initial_checkpoint": str(tmp_path / "gpt2")}))


def test_a_model_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    """transformers would draw it anew, on every peer another one, and only warn."""
    folder, _ = existing(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("h.1.mlp.dense_h_to_4h.weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors", WRITTEN)
    with pytest.raises(CheckpointError, match=r"lacks .*h\.1\.mlp\.dense_h_to_4h\.weight; copy it again"):
        build_model(SPEC.model_copy(update={"initial_checkpoint": str(folder)}))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_model_whose_copy_broke_off_is_one_error(name: str, tmp_path: Path) -> None:
    folder, _ = existing(tmp_path / "model")
    os.truncate(folder / name, (folder / name).stat().st_size // 2)
    with pytest.raises(CheckpointError, match="holds no model that transformers loads: "):
        build_model(SPEC.model_copy(update={"initial_checkpoint": str(folder)}))


def test_a_model_of_the_hub_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="model nobody/nothing could not be had from the Hub"):
        build_model(SPEC.model_copy(update={"initial_checkpoint": "nobody/nothing@v1"}))
