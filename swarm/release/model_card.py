"""The model card of a release: README.md for a model hub, from the run's own records and nothing else.

What nobody recorded is called so. The card claims no quality but what `bloomswarm eval` measured on these very weights.
Format: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from swarm.errors import ConfigError
from swarm.run.manifest import Manifest, SourceSpec
from swarm.run.schema import Language, Name, Sha256
from swarm.state.checkpoint import Checkpoint
from swarm.state.chronicle import Chronicle
from swarm.validation import parse

MAX_EVALUATION_BYTES = 4 << 20
NOT_RECORDED = "not recorded"
JOULES_PER_KWH = 3.6e6


class Lenient(BaseModel):
    """Fields that the card shows; others of the file are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Measured(Lenient):
    """One language."""

    loss: float = Field(ge=0, le=1e4)
    bits_per_byte: float = Field(ge=0, le=1e4)
    tokens_per_byte: float = Field(ge=0, le=1e4)
    bytes: int = Field(ge=1, lt=2**53)


class Subject(Lenient):
    parameters: Sha256


class TextUsed(Lenient):
    name: Name
    languages: dict[Language, dict[str, Any]] = Field(default_factory=dict, max_length=256)


class EvaluationReport(Lenient):
    """What `bloomswarm eval --json` prints."""

    checkpoint: Subject
    text: TextUsed
    languages: dict[Language, Measured] = Field(min_length=1, max_length=256)


def read_evaluation_report(path: Path, parameters: str) -> EvaluationReport:
    """ConfigError where the file is none, or of other weights than those whose digest is `parameters`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_EVALUATION_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_EVALUATION_BYTES else None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}; name a file of `eval --json`") from None
    except (ValueError, RecursionError):
        value = None
    if value is None:
        raise ConfigError(f"{path}: not what `bloomswarm eval CHECKPOINT --json` prints; write that into a file")
    report = parse(EvaluationReport, value, str(path))
    if report.checkpoint.parameters != parameters:
        theirs, ours = report.checkpoint.parameters[:16], parameters[:16]
        raise ConfigError(f"{path} measured other weights ({theirs}) than these ({ours}); evaluate this checkpoint")
    return report


def model_card(checkpoint: Checkpoint, evaluation: EvaluationReport | None = None) -> str:
    """README.md: facts from the checkpoint, its manifest and chronicle, intended use, limits."""
    manifest = checkpoint.manifest.manifest
    sections = [
        _header(manifest),
        f"# {manifest.name}\n\n{plain(manifest.description) or 'A multilingual language model.'}",
        f"A BLOOM language model with {checkpoint.state.layout.size:,} parameters, trained by volunteers' machines "
        "together with Bloomswarm.",
        _facts(checkpoint),
        "## Training data\n\n" + _data(manifest),
        "## Training\n\n" + _training(checkpoint),
        "## Evaluation\n\n" + _evaluation(evaluation),
        USE,
    ]
    return "\n\n".join(sections) + "\n"


USE = """## Intended use

Research on multilingual and decentralised training, and as a start for further training. It continues text; it was not
trained to follow instructions.

## Limits

The model may write false, biased or offensive text, more so in languages of which it saw little. It was not evaluated
for any use that affects people, and must not be used for decisions about them. Anyone could contribute to an open run,
so its training is only as trustworthy as its contributors."""


def _header(manifest: Manifest) -> str:
    lines = ["---", f"license: {json.dumps(manifest.licence.lower())}", "language:"]
    lines += [f"- {json.dumps(code)}" for code in sorted(manifest.data.stock)]  # "no" is Norwegian, and YAML's false
    lines += ["pipeline_tag: text-generation", "library_name: transformers", "tags:", "- bloom", "- bloomswarm", "---"]
    return "\n".join(lines)


def _facts(checkpoint: Checkpoint) -> str:
    manifest, state = checkpoint.manifest.manifest, checkpoint.state
    model = manifest.model
    shape = f"{model.layers} layers, hidden size {model.hidden_size}, {model.heads} heads"
    start = (
        plain(model.initial_checkpoint) if model.initial_checkpoint else f"random weights (seed {model.initial_seed})"
    )
    return table(
        {
            "languages": ", ".join(sorted(manifest.data.stock)),
            "architecture": f"BLOOM: {shape}, vocabulary {model.vocab_size:,}",
            "sequence length": f"{model.sequence_length} tokens",
            "steps": f"{state.step:,} of {manifest.training.steps:,}",
            "samples": f"{state.samples:,} sequences",
            "tokens": f"{state.samples * model.sequence_length:,}",
            "started from": start,
            "licence": plain(manifest.licence),
            "run": f"`{checkpoint.manifest.digest}`",
            "weights": f"`{state.parameters_digest()}` (SHA-256 of the float32 parameters)",
        }
    )


def _data(manifest: Manifest) -> str:
    """What was read, from where, under which licence and in which revision."""
    lines = ["| language | documents | bytes of text | tokens |", "|---|---|---|---|"]
    for code, held in sorted(manifest.data.stock.items()):
        lines.append(f"| {code} | {held.documents:,} | {held.text_bytes:,} | {held.tokens:,} |")
    lines += [
        "",
        f"Sampling: {_sampling(manifest)}.",
        "",
        "| source | languages | revision | licence |",
        "|---|---|---|---|",
    ]
    lines += [_source(source) for source in manifest.data.sources]
    return "\n".join(lines)


def _sampling(manifest: Manifest) -> str:
    data = manifest.data
    how = (
        "UniMax" if data.sampling == "unimax" else f"share of a language as its bytes to the power {data.temperature:g}"
    )
    return how + (f", no text more than {data.max_repeats:g} times" if data.max_repeats is not None else "")


def _source(source: SourceSpec) -> str:
    name = {"starter": "Bloomswarm's starter corpus"}.get(source.kind) or plain(source.path or source.kind)
    part = "" if source.config is None else f", {plain(source.config)}"
    spoken = (source.language,) if source.language else source.languages or ("all that it holds",)
    revision = plain(source.revision) if source.revision else NOT_RECORDED
    licence = NOT_RECORDED if source.licence == "unknown" else plain(source.licence)
    local = "" if source.kind in ("starter", "huggingface") else " (files on the peers' disks)"
    return f"| {name}{part}{local} | {', '.join(spoken)} | {revision} | {licence} |"


def _training(checkpoint: Checkpoint) -> str:
    manifest, seen = checkpoint.manifest.manifest, _chronicle(checkpoint)
    how = {
        "mode": f"{manifest.training.mode}, averaged in {manifest.averaging.codec}",
        "optimizer": f"{manifest.optimizer.name}, learning rate {manifest.optimizer.learning_rate:g} at its highest",
    }
    if seen is None or not seen.rounds:
        return table(how | dict.fromkeys(("peers", "energy", "CO2"), NOT_RECORDED))
    kwh = sum(seen.joules.values()) / JOULES_PER_KWH
    by_source = ", ".join(f"{name} {joules / JOULES_PER_KWH:.3g}" for name, joules in sorted(seen.joules.items()))
    metered = f"{kwh:.3g} kWh ({by_source}), as {len(seen.metered)} peers told; `machine` is an estimate"
    co2 = f"{seen.grams:,.0f} g, at the grid intensities that peers set"
    figures = {
        "peers": f"{len(seen.peers):,} gave samples",
        "energy": metered if seen.metered else NOT_RECORDED,
        "CO2": co2 if seen.grams > 0 else NOT_RECORDED,
    }
    words = f"Peers, energy and CO2 are what one peer saw, in {seen.rounds:,} rounds from step {seen.first_step:,} on."
    return table(how | figures) + "\n\n" + words


def _chronicle(checkpoint: Checkpoint) -> Chronicle | None:
    try:
        return parse(Chronicle, checkpoint.extra["chronicle"], "the chronicle")
    except (KeyError, ConfigError):
        return None


def _evaluation(report: EvaluationReport | None) -> str:
    if report is None:
        return (
            f"{NOT_RECORDED.capitalize()}. Measure it on your own text with `bloomswarm eval`, which reports bits per "
            "byte for each language."
        )
    documents = sum(int(held.get("documents") or 0) for held in report.text.languages.values())
    lines = ["| language | bits per byte | loss (nats per token) | tokens per byte | bytes |", "|---|---|---|---|---|"]
    lines += [
        f"| {code} | {row.bits_per_byte:.4f} | {row.loss:.4f} | {row.tokens_per_byte:.4f} | {row.bytes:,} |"
        for code, row in sorted(report.languages.items())
    ]
    on = f"`bloomswarm eval` of these weights on {plain(report.text.name)} ({documents:,} documents)."
    return "\n".join([on + " Bits per byte compare between tokenizers; lower is better.", "", *lines])


def table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def plain(text: str) -> str:
    """Text of whoever wrote the manifest, in a cell of a table: nothing in it is markup."""
    for character in "\\|<>[]`*_":
        text = text.replace(character, f"\\{character}")
    return text
