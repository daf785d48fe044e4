"""Evaluating checkpoints from the command line: held-out text, scores per language, a few sampled sentences.

Several models are compared on the same documents. Their windows are as long as each one's own sequences, so a model
with longer ones may look back further: that is part of what it can do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import BloomForCausalLM

from peers.run_folder import RunFolder
from swarm.data.document import Document
from swarm.data.sources import STARTER
from swarm.data.stock import Count
from swarm.data.tokenizer import Tokenizer
from swarm.data.validation import read_evaluation
from swarm.errors import DataError
from swarm.model.bloom import model_from_vector, starting_vector
from swarm.model.evaluation import evaluate, sample_text
from swarm.state.checkpoint import Checkpoint, load

PROMPT_CHARACTERS = 24
INITIAL = "initial"


@dataclass(frozen=True)
class Candidate:
    """A model to measure. facts: what it is, for whoever reads the result later."""

    name: str
    model: BloomForCausalLM
    tokenizer: Tokenizer
    length: int
    facts: dict[str, Any]


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
        self.text = text_facts("the starter corpus" if data is None else data.resolve().name, chosen)
        self.documents = {code: [document.text for document in documents] for code, documents in chosen.items()}

    def candidate(self) -> Candidate:
        """The checkpoint itself."""
        return candidate_of(self.loaded, str(self.path))

    def other(self, name: str) -> Candidate:
        """Another checkpoint, or the "initial" model of this one's run."""
        if name != INITIAL:
            return candidate_of(load(Path(name)), name)
        spec = self.loaded.spec
        model = model_from_vector(spec, starting_vector(spec, self._weights()))
        facts = facts_of(self.loaded) | {"step": 0, "samples": 0, "parameters": spec.initial_digest}
        return Candidate(name, model, Tokenizer(self.loaded.tokenizer), spec.sequence_length, facts)

    def _weights(self) -> Path | None:
        """Those that the run began with, where it serves them: they lie in the peer's folder, above its checkpoints."""
        return RunFolder(self.path.resolve().parent.parent).weights()

    def scores(self, candidate: Candidate) -> dict[str, dict[str, Any]]:
        """By language."""
        rows: dict[str, dict[str, Any]] = {}
        for number, (code, texts) in enumerate(self.documents.items(), start=1):
            self.say(f"evaluating {candidate.name}: {code} ({number} of {len(self.documents)})")
            score = evaluate(candidate.model, candidate.tokenizer, {code: texts}, sequence_length=candidate.length)
            rows[code] = dict(score[code].to_dict())
        return rows

    def sentences(self, candidate: Candidate, count: int) -> list[dict[str, str]]:
        """What a model writes after the first words of `count` documents, of one language after the other.

        The prompts are text that it was not trained on; every candidate gets the same ones.
        """
        written = []
        for seed, (code, prompt) in enumerate(self._prompts(count)):
            text = sample_text(
                candidate.model, candidate.tokenizer, prompt, seed=seed, sequence_length=candidate.length
            )
            written.append({"checkpoint": candidate.name, "language": code, "prompt": prompt, "text": text})
        return written

    def _prompts(self, count: int) -> list[tuple[str, str]]:
        longest = max(map(len, self.documents.values()))
        prompts = [
            (code, texts[number][:PROMPT_CHARACTERS])
            for number in range(min(longest, count))
            for code, texts in self.documents.items()
            if number < len(texts)
        ]
        return prompts[:count]


def candidate_of(checkpoint: Checkpoint, name: str) -> Candidate:
    """The model of a checkpoint."""
    model = model_from_vector(checkpoint.spec, checkpoint.state.parameters)
    length = checkpoint.spec.sequence_length
    return Candidate(name, model, Tokenizer(checkpoint.tokenizer), length, facts_of(checkpoint))


def facts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What was measured: `parameters` is the SHA-256 of the weights, by which a release knows its own evaluation."""
    manifest, state = checkpoint.manifest, checkpoint.state
    return {
        "name": manifest.manifest.name,
        "run": manifest.digest,
        "step": state.step,
        "samples": state.samples,
        "parameters": state.parameters_digest(),
    }


def text_facts(name: str, documents: dict[str, list[Document]]) -> dict[str, Any]:
    """On what was measured: its name, and by language how many documents, and their digest (as in `data.stock`)."""
    languages = {}
    for code, texts in documents.items():
        count = Count()
        for document in texts:
            count.add(document)
        languages[code] = {"documents": count.documents, "digest": count.digest}
    return {"name": name, "languages": languages}
