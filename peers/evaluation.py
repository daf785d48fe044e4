"""Evaluating a checkpoint from the command line: held-out text, scores per language, a few sampled sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import BloomForCausalLM

from peers.run_folder import RunFolder
from swarm.checkpoint import Checkpoint, load
from swarm.data.sources import STARTER
from swarm.data.validation import read_evaluation
from swarm.errors import DataError
from swarm.evaluation import evaluate, sample_text
from swarm.model.bloom import model_from_vector, starting_vector
from swarm.tokenizer import Tokenizer

PROMPT_CHARACTERS = 24


class Evaluation:
    """One checkpoint on one set of documents. data: None for the starter corpus. limit: documents a language."""

    def __init__(self, checkpoint: Path, *, data: Path | None, limit: int | None, say: Callable[[str], None]) -> None:
        self.path = checkpoint
        self.loaded = load(checkpoint)
        self.say = say
        found = read_evaluation(data or STARTER, limit=limit)
        spoken = self.loaded.manifest.manifest.data.stock
        chosen = found if data is not None else {code: texts for code, texts in found.items() if code in spoken}
        if not chosen:
            raise DataError("the starter corpus has none of the run's languages; name text of your own with --data")
        self.documents = {code: [document.text for document in documents] for code, documents in chosen.items()}

    def languages(self) -> dict[str, dict[str, Any]]:
        """The scores of the checkpoint, by language."""
        return self._scores(self.loaded, "the checkpoint")

    def against(self, other: str) -> dict[str, dict[str, Any]]:
        """The scores of another checkpoint, or of the "initial" model of this one's run, on the same documents."""
        if other != "initial":
            return self._scores(load(Path(other)), other)
        spec = self.loaded.spec
        return self._evaluate(
            model_from_vector(spec, starting_vector(spec, self._weights())), self.loaded, "the untrained model"
        )

    def _weights(self) -> Path | None:
        """Those that the run began with, where it serves them: they lie in the peer's folder, above its checkpoints."""
        return RunFolder(self.path.resolve().parent.parent).weights()

    def sentences(self, count: int) -> list[dict[str, str]]:
        """What the model writes after the first words of `count` documents, each of another language."""
        model, tokenizer = self._model(self.loaded), Tokenizer(self.loaded.tokenizer)
        length = self.loaded.spec.sequence_length
        written = []
        for seed, (code, texts) in enumerate(list(self.documents.items())[:count]):
            prompt = texts[0][:PROMPT_CHARACTERS]
            text = sample_text(model, tokenizer, prompt, seed=seed, sequence_length=length)
            written.append({"language": code, "text": text})
        return written

    def _scores(self, checkpoint: Checkpoint, name: str) -> dict[str, dict[str, Any]]:
        return self._evaluate(self._model(checkpoint), checkpoint, name)

    def _model(self, checkpoint: Checkpoint) -> BloomForCausalLM:
        return model_from_vector(checkpoint.spec, checkpoint.state.parameters)

    def _evaluate(self, model: BloomForCausalLM, checkpoint: Checkpoint, name: str) -> dict[str, dict[str, Any]]:
        tokenizer, length = Tokenizer(checkpoint.tokenizer), checkpoint.spec.sequence_length
        rows: dict[str, dict[str, Any]] = {}
        for number, (code, texts) in enumerate(self.documents.items(), start=1):
            self.say(f"evaluating {name}: {code} ({number} of {len(self.documents)})")
            rows[code] = dict(evaluate(model, tokenizer, {code: texts}, sequence_length=length)[code].to_dict())
        return rows
