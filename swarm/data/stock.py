"""Taking stock: what each language holds, so that all peers know that they number the same samples.

`create` writes it into the manifest; every peer reads its own text and compares. The digest is over the documents'
text in reading order (8 bytes of length, then UTF-8), not over files, so the same text in another format is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.data.document import Document
from swarm.errors import DataError
from swarm.run.schema import DataSpec, LanguageStock

if TYPE_CHECKING:
    from swarm.data.tokenizer import Tokenizer

Progress = Callable[[str], None]


def silent(line: str) -> None:
    """A Progress that says nothing."""


@dataclass
class Count:
    """A language's stock while it is read. `tokens` includes one end-of-text token a document."""

    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, document: Document) -> None:
        data = document.text.encode("utf-8")
        self.documents += 1
        self.text_bytes += len(data)
        self._hash.update(len(data).to_bytes(8, "little") + data)

    @property
    def digest(self) -> str:
        return str(self._hash.hexdigest())


def take_stock(
    data: DataSpec,
    tokenizer: Tokenizer,
    sequence_length: int,
    *,
    root: Path | None,
    cache: Path,
    progress: Progress = silent,
) -> dict[str, LanguageStock]:
    """Read everything once (or find it in the cache) and count it. DataError where a language is too short."""
    from swarm.data.store import open_store

    return open_store(data, tokenizer, sequence_length, root=root, cache=cache, progress=progress).stock


def check_stock(here: Mapping[str, LanguageStock], there: Mapping[str, LanguageStock]) -> None:
    """DataError naming the first language in which this peer's text is not the run's."""
    if missing := sorted(there.keys() - here.keys()):
        raise DataError(f"no text in {', '.join(missing)} here, the run has it; get the run's data, see --data")
    if extra := sorted(here.keys() - there.keys()):
        raise DataError(f"text in {', '.join(extra)} here, the run has none; remove it from the data folder")
    for language in sorted(there):
        ours, theirs = here[language], there[language]
        names = ("documents", "text_bytes", "tokens", "sequences", "digest")
        for name in names:
            left, right = getattr(ours, name), getattr(theirs, name)
            if left != right:
                left, right = (value[:12] if name == "digest" else value for value in (left, right))
                raise DataError(
                    f"the {language} text differs from the run's: {name} {left} here, {right} there; "
                    "get the run's data again, or check --data"
                )
