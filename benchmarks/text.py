"""A run on real text for benchmarks of training: made as `bloomswarm create` does it, measured on held-out text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BloomForCausalLM

    from swarm.data.batches import Batches
    from swarm.data.store import TokenStore
    from swarm.run.manifest import Manifest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
DOCUMENTS = 400  # of held-out text, a language


def text_folder(chosen: Path | None) -> Path | None:
    """`chosen`, else the corpus where it lies beside the checkout, else None: the starter corpus."""
    return chosen or (CORPUS if (CORPUS / "train").is_dir() else None)


def create(folder: Path, data: Path | None, seed: int, value: dict[str, Any]) -> None:
    """The folder of a run with the configuration `value`, on the text in `data`. seed: of weights and of the plan."""
    from peers.commands.create import fill
    from swarm.run.manifest import parse_config

    source = {"kind": "starter"} if data is None else {"kind": "folder", "path": str(data)}
    value = value | {"data": {"sources": [source], "temperature": 0.7, "seed": seed}}
    value["model"] = value["model"] | {"initial_seed": seed + 1}
    folder.mkdir(parents=True)
    fill(parse_config(value, "the benchmark"), Path(), folder, say=lambda words: None)


@dataclass(frozen=True)
class Text:
    """What `create` made, in another process. data: as given there. windows: of held-out text, a language."""

    folder: Path
    data: Path | None
    windows: int = 24

    @cached_property
    def manifest(self) -> Manifest:
        from peers.run_folder import RunFolder

        return RunFolder(self.folder).manifest().manifest

    @cached_property
    def _tokenizer(self) -> Any:
        from peers.run_folder import RunFolder
        from swarm.data.tokenizer import load

        return load(RunFolder(self.folder).tokenizer())

    @cached_property
    def store(self) -> TokenStore:
        from swarm.data.store import open_store

        length = self.manifest.model.sequence_length
        return open_store(self.manifest.data, self._tokenizer, length, root=self.data, cache=self.folder / "cache")

    def batches(self, peer: str, batch: int) -> Batches:
        """The samples of a peer, by a plan with `batch` samples in a step."""
        from swarm.data.batches import Batches
        from swarm.data.plan import Plan

        return Batches(self.store, Plan(self.manifest.data, batch, self.manifest.training.steps), peer)

    @cached_property
    def loss(self) -> Callable[[BloomForCausalLM], tuple[float, dict[str, float]]]:
        """Nats a token over all languages' held-out text, and of each language."""
        from swarm.data.validation import read_validation
        from swarm.model.evaluation import evaluate

        documents = read_validation(self.manifest.data, self.data, limit=DOCUMENTS)
        texts = {code: [document.text for document in found] for code, found in documents.items()}
        tokenizer, length = self._tokenizer, self.manifest.model.sequence_length

        def measure(model: BloomForCausalLM) -> tuple[float, dict[str, float]]:
            scores = evaluate(model, tokenizer, texts, sequence_length=length, max_sequences=self.windows)
            tokens = sum(score.tokens for score in scores.values())
            loss = sum(score.loss * score.tokens for score in scores.values()) / tokens
            return loss, {code: score.loss for code, score in scores.items()}

        return measure
