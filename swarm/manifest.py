"""The manifest: everything the peers of one run must agree on, frozen, canonical, signed by the run's owner.

Its digest is the run's identity. `RunConfig` is what a person writes (TOML); `Manifest` is the resolved, signed form (JSON).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelSpec(Part):
    """A BLOOM architecture (transformers' `BloomConfig`) and where its weights start."""

    architecture: Literal["bloom"] = "bloom"
    vocab_size: int = Field(ge=257, le=1_000_000)
    hidden_size: int = Field(ge=8, le=65_536)
    layers: int = Field(ge=1, le=512)
    heads: int = Field(ge=1, le=512)
    sequence_length: int = Field(ge=8, le=65_536)
    layer_norm_epsilon: float = Field(default=1e-5, gt=0, le=0.1)
    initializer_range: float = Field(default=0.02, gt=0, le=1)
    initial_seed: int = Field(default=0, ge=0, lt=2**63)
    initial_checkpoint: str | None = None  # a checkpoint folder, or a Hub model "name@revision"; None: from initial_seed
    initial_digest: str | None = None  # filled by `create`: SHA-256 of the initial flat vector


class TokenizerSpec(Part):
    """Train a byte-level BPE from the data (source None), or take an existing one by Hub name@revision or path."""

    source: str | None = None
    digest: str | None = None  # filled by `create`: SHA-256 of tokenizer.json's bytes


class SourceSpec(Part):
    """One place text comes from. `languages` maps a language code to a sub-path (folders) or is one code (files)."""

    kind: Literal["starter", "jsonl", "text", "parquet", "folder", "huggingface"]
    path: str | None = None  # file or folder (local kinds); a Hub data set's name (huggingface)
    language: str | None = None  # required for a single-language source; a folder names languages by file or sub-folder
    languages: tuple[str, ...] | None = None  # restrict a folder or the starter corpus to these
    column: str = "text"
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    max_documents: int | None = Field(default=None, ge=1)
    weight: float = Field(default=1.0, gt=0, le=1e6)
    licence: str = "unknown"


class LanguageStock(Part):
    """What a language holds: filled by `create`, checked by every peer against what it reads."""

    documents: int = Field(ge=1)
    text_bytes: int = Field(ge=1)
    tokens: int = Field(ge=1)
    sequences: int = Field(ge=1)
    digest: str  # SHA-256 over the documents, see swarm/data


class DataSpec(Part):
    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    temperature: float = Field(default=0.7, gt=0, le=1)  # share of a language ~ bytes ** temperature
    stock: dict[str, LanguageStock] = Field(default_factory=dict)  # filled by `create`
    seed: int = Field(default=0, ge=0, lt=2**63)


class OptimizerSpec(Part):
    """AdamW with warm-up and cosine decay by global step, global-norm clipping after averaging."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0, le=1e6)
    warmup_steps: int = Field(default=10, ge=0)
    final_fraction: float = Field(default=0.1, ge=0, le=1)  # learning rate at the last step over the peak


class TrainingSpec(Part):
    mode: Literal["gradient"] = "gradient"
    steps: int = Field(ge=1, le=100_000_000)
    global_batch: int = Field(ge=1, le=1_000_000)  # samples (sequences) in one global step
    validation_sequences: int = Field(default=8, ge=1, le=100_000)


class AveragingSpec(Part):
    algorithm: str = "hivemind"  # "hivemind" or "round": see swarm/averaging/registry.py
    codec: str = "int8-block@1"  # name@version: see swarm/averaging/codec
    span_size: int = Field(default=2**18, ge=2**10, le=2**24)
    quorum: Literal["majority", "two-thirds"] = "majority"
    weight_cap: float = Field(default=0.5, gt=0, le=1)


class JoinSpec(Part):
    policy: Literal["open"] = "open"
    anchors: tuple[str, ...] = ()  # peer ids whose signature pins a checkpoint


class RunConfig(Part):
    """The hand-written half: a TOML file in `configs/`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    description: str = Field(default="", max_length=500)
    licence: str = "Apache-2.0"  # of the trained model
    model: ModelSpec
    tokenizer: TokenizerSpec = TokenizerSpec()
    data: DataSpec
    training: TrainingSpec
    optimizer: OptimizerSpec = OptimizerSpec()
    averaging: AveragingSpec = AveragingSpec()
    join: JoinSpec = JoinSpec()


class Manifest(RunConfig):
    """The resolved run. `owner` is the public key's peer id; the signature travels beside it, not inside."""

    owner: str
    created: str  # ISO 8601 date, UTC
    version: str  # lowest compatible bloomswarm version
    protocol: int = 1
