"""The schema of a run: what `configs/*.toml` may say. `swarm.run.manifest` adds identity, digest and signature.

Every bound is there because a manifest may come from a stranger. Fields that `create` fills are None or empty in a
hand-written file. Impossible combinations are refused here, where the file is read, and not hours later.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from swarm.validation import Strict, show

BYTES = 256  # byte-level BPE: every vocabulary holds all of them, and the special tokens
SPECIAL_TOKENS = 4  # unknown, begin, end of text, padding, as in BLOOM's own tokenizer
SPAN_UNIT = 1024  # spans are aligned to the codec's blocks

JOINERS = "\u200c\u200d"  # needed to write Persian and several Indian languages


def _one_plain_line(text: str) -> str:
    """Manifests of strangers are shown in terminals: no escape sequences, no line breaks."""
    for character in text:
        category = unicodedata.category(character)
        if (category[0] == "C" and character not in JOINERS) or category in ("Zl", "Zp"):
            raise ValueError(f"{show(text)} holds control characters or line breaks; write one plain line")
    return text


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Language = Annotated[
    str, StringConstraints(pattern=r"^[a-z]{2,4}(-[A-Za-z0-9]{2,8}){0,2}$")
]  # BCP 47: en, pt-BR, zh-Hans
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_one_plain_line)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_one_plain_line)]


class ModelSpec(Strict):
    """A BLOOM architecture (transformers' `BloomConfig`) and where its weights start."""

    architecture: Literal["bloom"] = "bloom"
    vocab_size: int = Field(ge=BYTES + 1, le=1_000_000)
    hidden_size: int = Field(ge=8, le=65_536)
    layers: int = Field(ge=1, le=512)
    heads: int = Field(ge=1, le=512)
    sequence_length: int = Field(ge=8, le=65_536)
    layer_norm_epsilon: float = Field(default=1e-5, gt=0, le=0.1)
    initializer_range: float = Field(default=0.02, gt=0, le=1)
    initial_seed: int = Field(default=0, ge=0, lt=2**63)
    initial_checkpoint: Text | None = (
        None  # a checkpoint folder, or a Hub model "name@revision"; None: from initial_seed
    )
    initial_digest: Sha256 | None = None  # filled by `create`: SHA-256 of the initial flat vector

    @model_validator(mode="after")
    def _heads_divide_hidden_size(self) -> ModelSpec:
        if self.hidden_size % self.heads:
            fits = max(n for n in range(1, self.heads + 1) if self.hidden_size % n == 0)
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}; use heads = {fits}"
            )
        return self


class TokenizerSpec(Strict):
    """Train a byte-level BPE from the data (source None), or take an existing one by Hub name@revision or path."""

    source: Text | None = None
    digest: Sha256 | None = None  # filled by `create`: SHA-256 of tokenizer.json's bytes


class SourceSpec(Strict):
    """One place text comes from: one language (`language`), or several (`languages`, one sub-path or file each)."""

    kind: Literal["starter", "jsonl", "text", "parquet", "folder", "huggingface"]
    path: Text | None = None  # file or folder (local kinds); a Hub data set's name (huggingface)
    language: Language | None = (
        None  # required for a single-language source; a folder names languages by file or sub-folder
    )
    languages: tuple[Language, ...] | None = Field(default=None, min_length=1, max_length=256)  # only these of a folder
    column: Name = "text"
    config: Name | None = None
    split: Name = "train"
    revision: Name | None = None
    max_documents: int | None = Field(default=None, ge=1, lt=2**53)
    weight: float = Field(default=1.0, gt=0, le=1e6)
    licence: Name = "unknown"

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> SourceSpec:
        many = self.kind in ("starter", "folder")
        if self.kind == "starter" and self.path is not None:
            raise ValueError(f"the starter corpus is part of the package; leave out path = {self.path[:60]!r}")
        if self.kind != "starter" and self.path is None:
            raise ValueError(f'kind = {self.kind!r} needs a path; add path = "..."')
        if many and self.language is not None:
            raise ValueError(f"kind = {self.kind!r} holds several languages; write languages = [{self.language!r}]")
        if not many and self.language is None:
            raise ValueError(f'kind = {self.kind!r} holds one language; add language = "en" (its code)')
        if not many and self.languages is not None:
            raise ValueError(f"kind = {self.kind!r} holds one language; write language, and one source for each")
        if self.kind == "folder" and self.split == "validation":
            raise ValueError('split = "validation" is measured and never trained on; leave split out, or name another')
        if self.languages is not None and len(set(self.languages)) != len(self.languages):
            twice = next(code for code in self.languages if self.languages.count(code) > 1)
            raise ValueError(f"languages names {twice!r} twice; name each once")
        if self.kind != "huggingface" and (self.config, self.revision) != (None, None):
            raise ValueError(f"config and revision are for kind = 'huggingface', not {self.kind!r}; leave them out")
        return self


class LanguageStock(Strict):
    """What a language holds: filled by `create`, checked by every peer against what it reads."""

    documents: int = Field(ge=1, lt=2**53)
    text_bytes: int = Field(ge=1, lt=2**53)
    tokens: int = Field(ge=1, lt=2**53)
    sequences: int = Field(ge=1, lt=2**53)
    digest: Sha256  # over the documents, see swarm/data


class DataSpec(Strict):
    sources: tuple[SourceSpec, ...] = Field(min_length=1, max_length=512)
    sampling: Literal["temperature", "unimax"] = "temperature"  # unimax: all alike, as far as max_repeats lets them
    temperature: float = Field(default=0.7, gt=0, le=1)  # share of a language ~ bytes ** temperature
    max_repeats: float | None = Field(default=None, gt=0, le=1e6)  # of a language's text over the run; None: no cap
    stock: dict[Language, LanguageStock] = Field(default_factory=dict, max_length=256)  # filled by `create`
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _unimax_has_its_cap(self) -> DataSpec:
        if self.sampling == "unimax" and self.max_repeats is None:
            raise ValueError('sampling = "unimax" needs max_repeats, how often text may be read over the run; use 4')
        return self

    @model_validator(mode="after")
    def _no_source_twice(self) -> DataSpec:
        seen: dict[tuple[str | None, ...], int] = {}
        for index, source in enumerate(self.sources):
            place = (source.kind, source.path, source.language, source.config, source.split, source.column)
            if place in seen:
                raise ValueError(
                    f"sources[{index}] reads the same text as sources[{seen[place]}]; remove one, or use weight"
                )
            seen[place] = index
        return self


class OptimizerSpec(Strict):
    """AdamW with warm-up and cosine decay by global step, global-norm clipping after averaging."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0, le=1e6)
    warmup_steps: int = Field(default=10, ge=0, lt=2**53)
    final_fraction: float = Field(default=0.1, ge=0, le=1)  # learning rate at the last step over the peak


class OuterSpec(Strict):
    """The outer optimizer of mode "local": Nesterov momentum on the averaged pseudo-gradient (DiLoCo).

    DiLoCo's momentum is 0.9, for some 500 rounds. With the tens of rounds of a small run half of that is better
    (measured, docs/decisions.md): the momentum must have time to grow, and to be used up before the end.
    """

    learning_rate: float = Field(default=0.7, gt=0, le=10)
    momentum: float = Field(default=0.5, ge=0, lt=1)
    clip_norm: float = Field(default=1e6, gt=0, le=1e6)
    final_fraction: float = Field(default=1.0, ge=0, le=1)  # outer rate at the last step over the first, linear


class LocalSpec(Strict):
    """Mode "local": every peer takes `inner_steps` AdamW steps of `inner_batch` samples between two rounds.

    A peer twice as fast takes twice as many in the same time; its contribution weighs by its samples.
    """

    inner_steps: int = Field(default=100, ge=1, le=100_000)  # of a peer of mean speed
    inner_batch: int = Field(default=8, ge=1, le=1_000_000)  # samples in one inner step
    overlap: bool = True  # go on training while a round is under way
    outer: OuterSpec = OuterSpec()


class TrainingSpec(Strict):
    mode: Literal["gradient", "local"] = "gradient"
    steps: int = Field(ge=1, le=100_000_000)
    global_batch: int = Field(ge=1, le=1_000_000)  # samples (sequences) in one global step
    overlap: bool = False  # mode "gradient": compute the next step meanwhile, at the parameters of the step before
    local: LocalSpec = LocalSpec()
    validate_every: int = Field(
        default=50, ge=0, le=100_000
    )  # steps between two measurements on held-out text; 0: none
    validation_sequences: int = Field(default=8, ge=1, le=100_000)  # per language, in such a measurement
    checkpoint_every: int = Field(default=8, ge=1, le=64)  # steps; at these the swarm certifies the whole state

    def samples_due(self, members: int) -> int:
        """Samples that `members` peers together give before a round is called.

        In local mode it grows with them, so that a peer of mean speed always takes `inner_steps` between two rounds.
        """
        if self.mode == "gradient":
            return self.global_batch
        return self.local.inner_steps * self.local.inner_batch * max(1, members)


class AveragingSpec(Strict):
    algorithm: str = Field(default="round", pattern=r"^[a-z][a-z0-9-]{0,31}$")  # see swarm/averaging
    codec: str = Field(
        default="int8-block@1", pattern=r"^[a-z][a-z0-9-]{0,31}@[0-9]{1,4}$"
    )  # see swarm/averaging/codec
    aggregator: str = Field(
        default="weighted-mean@1", pattern=r"^[a-z][a-z0-9-]{0,31}@[0-9]{1,4}$"
    )  # see swarm/averaging/aggregator.py
    span_size: int = Field(default=2**18, ge=2**10, le=2**24)
    quorum: Literal["majority", "two-thirds"] = "majority"
    weight_cap: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _spans_hold_whole_blocks(self) -> AveragingSpec:
        if self.span_size % SPAN_UNIT:
            near = max(1, round(self.span_size / SPAN_UNIT)) * SPAN_UNIT
            raise ValueError(f"span_size {self.span_size} is not a multiple of {SPAN_UNIT}; use {near}")
        return self


class JoinSpec(Strict):
    policy: Literal["open", "invited"] = "open"  # invited: only peers that the owner names (`bloomswarm invite`)
    anchors: tuple[Name, ...] = Field(default=(), max_length=64)  # peer ids whose signature pins a checkpoint
    private_share: float = Field(default=0.1, ge=0, le=1)  # of a batch: the most that a peer with private text weighs


class RunConfig(Strict):
    """The hand-written half: a TOML file in `configs/`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    description: Annotated[str, AfterValidator(_one_plain_line)] = Field(default="", max_length=500)
    licence: Name = "Apache-2.0"  # of the trained model
    model: ModelSpec
    tokenizer: TokenizerSpec = TokenizerSpec()
    data: DataSpec
    training: TrainingSpec
    optimizer: OptimizerSpec = OptimizerSpec()
    averaging: AveragingSpec = AveragingSpec()
    join: JoinSpec = JoinSpec()

    @model_validator(mode="after")
    def _sections_fit_together(self) -> RunConfig:
        if self.join.policy == "invited" and (self.averaging.quorum, self.averaging.algorithm) != (
            "two-thirds",
            "round",
        ):
            remedy = 'add averaging.quorum = "two-thirds"'
            if self.averaging.algorithm != "round":
                remedy = 'use averaging.algorithm = "round"'
            raise ValueError(f'join.policy "invited" counts on more than two thirds of certified rounds; {remedy}')
        local = self.training.mode == "local"
        warmup = self.optimizer.warmup_steps
        steps = self.training.steps * (self.training.local.inner_steps if local else 1)
        if warmup >= steps:
            what = "training.steps x local.inner_steps" if local else "training.steps"
            remedy = f"use warmup_steps = {steps // 8}"
            raise ValueError(f"optimizer.warmup_steps {warmup} is not less than {what} {steps}; {remedy}")
        if self.tokenizer.source is None and self.model.vocab_size < BYTES + SPECIAL_TOKENS:
            needed = f"{BYTES} bytes and {SPECIAL_TOKENS} special tokens"
            raise ValueError(f"model.vocab_size {self.model.vocab_size} cannot hold {needed}; use 4096 or more")
        if self.model.initial_checkpoint is not None and self.tokenizer.source is None:
            remedy = 'set tokenizer.source to that model\'s, such as "bigscience/bloom"'
            raise ValueError(f"model.initial_checkpoint was trained with a tokenizer of its own; {remedy}")
        return self
