"""Held-out text for measuring during a run: a small fixed part of the validation text, as tokens, and whose turn it is.

The same windows every time, so that a curve over the run is one of the model and not of the text. `digest` says which
text it was: figures of peers that measure on other text are not comparable, and the manifest does not pin it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swarm.data.document import Document
from swarm.data.tokenizer import Tokenizer
from swarm.data.validation import read_validation
from swarm.run.schema import DataSpec

EVALUATORS = 2  # at a time: one may leave meanwhile, and two that differ are seen
DOCUMENTS = 8  # read for each window that is wanted: enough where documents are a sentence long


@dataclass(frozen=True)
class HeldOut:
    """windows: by language, (n, s) int64 token ids; the first of a window is not predicted. digest: of all of them."""

    windows: Mapping[str, np.ndarray]
    digest: str


def held_out(
    data: DataSpec, root: Path | None, tokenizer: Tokenizer, *, sequence_length: int, sequences: int
) -> HeldOut | None:
    """At most `sequences` windows a language; None where the run has no validation text here. DataError: unreadable."""
    found = read_validation(data, root, limit=DOCUMENTS * sequences)
    cut = {code: _windows(documents, tokenizer, sequence_length, sequences) for code, documents in found.items()}
    windows = {code: part for code, part in cut.items() if len(part)}
    if not windows:
        return None
    hasher = hashlib.sha256()
    for code, part in windows.items():
        hasher.update(f"{code} {part.shape}\n".encode() + part.astype("<i8").tobytes())
    return HeldOut(windows, hasher.hexdigest())


def _windows(documents: Sequence[Document], tokenizer: Tokenizer, length: int, most: int) -> np.ndarray:
    """(n, length), from the documents joined as in training; a last one that is not full is left out."""
    stream = [tokenizer.end_id]
    for document in documents:
        if len(stream) >= most * length:
            break
        stream += [*tokenizer.encode(document.text), tokenizer.end_id]
    count = min(most, len(stream) // length)
    return np.asarray(stream[: count * length], dtype=np.int64).reshape(count, length)


def evaluators(run: str, step: int, roster: Sequence[str], count: int = EVALUATORS) -> tuple[str, ...]:
    """Whose turn it is after `step`: the first of the roster by rendezvous hash (Thaler and Ravishankar 1998).

    Everybody computes the same, nobody hands out work, and who leaves moves nobody else's turn.
    """
    return tuple(
        sorted(roster, key=lambda peer: hashlib.sha256(f"evaluator 1\n{run}\n{step}\n{peer}".encode()).digest())
    )[:count]
