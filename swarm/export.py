"""From a checkpoint to a folder that `AutoModelForCausalLM` and `AutoTokenizer` load, with an honest model card.

The card states only what the checkpoint knows and makes no claim of quality: that is for `bloomswarm eval` to say.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from tokenizers import Tokenizer as Backend
from transformers import GenerationConfig, PreTrainedTokenizerFast

from swarm.checkpoint import Checkpoint, load
from swarm.errors import ConfigError, ResourceError
from swarm.manifest import Manifest
from swarm.model.bloom import model_from_vector
from swarm.tokenizer import Tokenizer

NAMES = {"unk_token": "<unk>", "bos_token": "<s>", "pad_token": "<pad>"}


def export(checkpoint: Path, to: Path) -> Path:
    """Write the folder `to`, which must not exist or be empty. CheckpointError, ConfigError, ResourceError."""
    loaded = load(checkpoint)
    _require_free(to)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
        try:
            _write(loaded, making)
            making.chmod(0o755)
            making.rename(to)  # onto an empty folder this succeeds
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(f"{to} could not be written: {reason}; free some space or name another folder") from error
    return to


def _require_free(to: Path) -> None:
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"{to} exists and is not empty: nothing is overwritten; name a new folder with --to")


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    tokenizer = transformers_tokenizer(checkpoint.tokenizer)
    model = model_from_vector(checkpoint.spec, checkpoint.state.parameters).eval()
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    for name, value in special.items():
        setattr(model.config, name, value)
    model.config.use_cache = True
    model.generation_config = GenerationConfig(do_sample=True, top_k=40, temperature=0.8, max_new_tokens=128, **special)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(model_card(checkpoint), encoding="utf-8")


def transformers_tokenizer(data: bytes) -> PreTrainedTokenizerFast:
    """tokenizer.json's bytes as transformers' tokenizer, with the roles of its special tokens."""
    backend = Backend.from_str(data.decode("utf-8"))
    roles = {role: name for role, name in NAMES.items() if backend.token_to_id(name) is not None}
    end = backend.id_to_token(Tokenizer(data).end_id)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=end,
        clean_up_tokenization_spaces=False,
        **({"bos_token": end, "pad_token": end} | roles),
    )


def model_card(checkpoint: Checkpoint) -> str:
    """README.md for a model hub: facts from the checkpoint and its manifest, intended use, limits."""
    manifest, state = checkpoint.manifest.manifest, checkpoint.state
    languages = sorted(manifest.data.stock)
    tokens = state.samples * manifest.model.sequence_length
    header = [
        "---",
        f"license: {json.dumps(manifest.licence.lower())}",
        "language:",
        *[f"- {language}" for language in languages],
        "pipeline_tag: text-generation",
        "library_name: transformers",
        "tags:",
        "- bloom",
        "- bloomswarm",
        "---",
    ]
    body = f"""
# {manifest.name}

{manifest.description or "A multilingual language model."}

A BLOOM language model with {state.layout.size:,} parameters, trained by volunteers' machines together with Bloomswarm.

| | |
|---|---|
| languages | {", ".join(languages)} |
| architecture | BLOOM: {manifest.model.layers} layers, hidden size {manifest.model.hidden_size}, \
{manifest.model.heads} heads, vocabulary {manifest.model.vocab_size:,} |
| sequence length | {manifest.model.sequence_length} tokens |
| steps | {state.step:,} of {manifest.training.steps:,} |
| samples | {state.samples:,} sequences |
| tokens | {tokens:,} |
| started from | {_start(manifest)} |
| licence | {manifest.licence} |
| run | `{manifest.digest}` |
| weights | `{state.parameters_digest()}` (SHA-256 of the float32 parameters) |

## Training data

{_data_table(manifest)}

## Intended use

Research on multilingual and decentralised training, and as a start for further training. It continues text; it was not
trained to follow instructions.

## Limits

The model may write false, biased or offensive text, more so in languages of which it saw little. It was not evaluated
for any use that affects people, and must not be used for decisions about them. Anyone could contribute to an open run,
so its training is only as trustworthy as its contributors. Its quality is not stated here: measure it on your own text
with `bloomswarm eval`, which reports bits per byte for each language.
"""
    return "\n".join(header) + "\n" + body


def _start(manifest: Manifest) -> str:
    source = manifest.model.initial_checkpoint
    return f"{source}" if source is not None else f"random weights (seed {manifest.model.initial_seed})"


def _data_table(manifest: Manifest) -> str:
    stock = manifest.data.stock
    lines = ["| language | documents | bytes of text | tokens |", "|---|---|---|---|"]
    lines += [f"| {code} | {s.documents:,} | {s.text_bytes:,} | {s.tokens:,} |" for code, s in sorted(stock.items())]
    sources = sorted(
        {(source.path or "Bloomswarm's starter corpus", source.licence) for source in manifest.data.sources}
    )
    lines += ["", "Sources: " + "; ".join(f"{name} (licence: {licence})" for name, licence in sources) + "."]
    return "\n".join(lines)
