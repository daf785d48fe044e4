"""One piece of text, and how long it may be."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DOCUMENT_BYTES = 16 << 20  # one document, and one line of a file: what a reader may hold in memory at once


@dataclass(frozen=True)
class Document:
    """Text of one language. `id` is the source's own where it has one, else "file:line"."""

    language: str
    id: str
    text: str

    @property
    def text_bytes(self) -> int:
        return len(self.text.encode("utf-8"))
