"""From a checkpoint to a folder that `AutoModelForCausalLM` and `AutoTokenizer` load, with its model card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tokenizers import Tokenizer as Backend
from transformers import GenerationConfig, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from swarm.data.tokenizer import Tokenizer
from swarm.errors import ConfigError, ResourceError
from swarm.model.bloom import model_from_vector
from swarm.release.model_card import model_card, read_evaluation_report
from swarm.state.checkpoint import Checkpoint, load

NAMES = {"unk_token": "<unk>", "bos_token": "<s>", "pad_token": "<pad>"}


def export(checkpoint: Path, to: Path, evaluation: Path | None = None) -> Path:
    """Write the folder `to`, which must not exist or be empty. CheckpointError, ConfigError, ResourceError.

    evaluation: a file of `eval --json`, of these very weights, for the card.
    """
    _require_free(to)
    loaded = load(checkpoint)
    report = read_evaluation_report(evaluation, loaded.state.parameters_digest()) if evaluation else None
    card = model_card(loaded, report)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
        try:
            _write(loaded, making, card)
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


def _write(checkpoint: Checkpoint, folder: Path, card: str) -> None:
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
    disable_progress_bar()  # of writing shards: no news for anybody, and in the way of an error's one line
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


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
