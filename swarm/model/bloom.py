"""transformers' BLOOM, built from the manifest: architecture, and where its weights start.

The architecture is made without weights ("meta" device) and filled from a flat vector, so torch's own initialisation,
which differs between CPUs, is never seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import BloomConfig, BloomForCausalLM

from swarm.errors import CheckpointError, ConfigError, IncompatibleError, NetworkError
from swarm.model.initial import initial_vector, vector_digest
from swarm.model.layout import Layout
from swarm.release.hub import quiet
from swarm.run.portable import serves_weights
from swarm.run.schema import ModelSpec


def bloom_config(spec: ModelSpec) -> BloomConfig:
    """transformers' configuration of the manifest's architecture. `seq_length` is informative: ALiBi has no limit."""
    return BloomConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        n_layer=spec.layers,
        n_head=spec.heads,
        layer_norm_epsilon=spec.layer_norm_epsilon,
        initializer_range=spec.initializer_range,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_cache=False,
        seq_length=spec.sequence_length,
    )


def model_from_vector(spec: ModelSpec, vector: np.ndarray, device: str | torch.device = "cpu") -> BloomForCausalLM:
    """The model with the weights of a (size,) float32 vector, on `device`, in training mode."""
    with torch.device("meta"):
        model = BloomForCausalLM(bloom_config(spec))
    model.to_empty(device=device)
    model.tie_weights()
    Layout.of(spec).scatter(vector, model)
    return model.train()


def build_model(spec: ModelSpec, device: str | torch.device = "cpu") -> BloomForCausalLM:
    """The model at the start of a run."""
    return model_from_vector(spec, starting_vector(spec), device)


def starting_vector(spec: ModelSpec, weights: Path | None = None) -> np.ndarray:
    """The (size,) float32 vector a run starts from. IncompatibleError if it is not what `initial_digest` says.

    weights: the file of the vector's bytes, for a run that serves them.
    """
    if spec.initial_checkpoint is None:
        vector = initial_vector(spec)
    elif serves_weights(spec.initial_checkpoint) and weights is not None:
        vector = read_weights(spec, weights)
    else:
        vector = load_vector(spec, spec.initial_checkpoint)
    if spec.initial_digest is not None and (found := vector_digest(vector)) != spec.initial_digest:
        source = spec.initial_checkpoint or f"initial_seed {spec.initial_seed}"
        raise IncompatibleError(
            f"initial weights from {source} have digest {found[:16]} here, {spec.initial_digest[:16]} in the manifest; "
            "the checkpoint or this version of bloomswarm is another one: take the manifest's"
        )
    return vector


def read_weights(spec: ModelSpec, path: Path) -> np.ndarray:
    """The vector in a file of little-endian float32, of which `initial_digest` is the SHA-256. CheckpointError."""
    wanted = Layout.of(spec).size
    try:
        vector = np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; the run starts from it") from None
    if vector.size != wanted:
        raise CheckpointError(f"{path} holds {vector.size} values, the model {wanted}; remove it and join again")
    return vector.astype(np.float32, copy=False)


def load_vector(spec: ModelSpec, source: str) -> np.ndarray:
    """The weights of an existing BLOOM as a flat vector: a transformers folder, our checkpoint, or "name@revision"."""
    if (Path(source) / "checkpoint.json").is_file():
        from swarm.state.checkpoint import load

        checkpoint = load(Path(source))
        _require_same_shape(spec, bloom_config(checkpoint.spec), source)
        return checkpoint.state.parameters
    model = _from_transformers(source)
    _require_same_shape(spec, model.config, source)
    return Layout.of(spec).gather(model)


def _from_transformers(source: str) -> BloomForCausalLM:
    name, _, revision = source.partition("@")
    name, options = (source, {}) if Path(source).exists() else (name, {"revision": revision or "main"})
    try:
        with quiet():
            config = BloomConfig.from_pretrained(name, **options)
        if config.model_type != "bloom":
            raise ConfigError(f"model.initial_checkpoint {source} is a {config.model_type} model; name a BLOOM model")
        with quiet():
            model, told = BloomForCausalLM.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
            )
        _require_complete(told, source)
        return model
    except (
        OSError,
        SafetensorError,
        RuntimeError,
        ValueError,
    ) as error:  # of files, of their bytes, of shapes, of JSON
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if Path(source).exists():
            remedy = "copy it again, or name another folder"
            raise CheckpointError(f"{source} holds no model that transformers loads: {reason}; {remedy}") from error
        raise NetworkError(f"model {name} could not be had from the Hub: {reason}; check name and network") from error


def _require_complete(told: Mapping[str, Any], source: str) -> None:
    """transformers only warns of a tensor that is not there, and draws it anew: every peer another one."""
    absent, other = sorted(told.get("missing_keys") or ()), sorted(map(str, told.get("mismatched_keys") or ()))
    if absent or other:
        raise CheckpointError(f"{source} lacks {', '.join((absent + other)[:3])[:200]}; copy it again, or name another")


def _require_same_shape(spec: ModelSpec, found: Any, source: str) -> None:
    wanted = bloom_config(spec)
    names = {
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_size",
        "n_layer": "layers",
        "n_head": "heads",
        "layer_norm_epsilon": "layer_norm_epsilon",
        "apply_residual_connection_post_layernorm": "residual after layer norm",
    }
    other = [
        f"{ours} {getattr(wanted, theirs)} here, {getattr(found, theirs)} there"
        for theirs, ours in names.items()
        if getattr(wanted, theirs) != getattr(found, theirs)
    ]
    if other:
        raise ConfigError(f"model differs from {source}: {'; '.join(other)}; use that model's values")
