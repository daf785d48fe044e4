"""The token store: a run's text as token ids on disk, memory-mapped, made once a machine.

One file a language: documents in reading order, each followed by the end-of-text token, little-endian uint16 (uint32
from a vocabulary of 65,537 on). Sample i is tokens i*S to (i+1)*S - 1; documents run over sample borders (nothing is
padded, nothing but a last incomplete sequence is dropped) and attention is not cut at document borders, as in BLOOM.

A store lies in the cache under a name made from the sources, the tokenizer and each file's size and time, so edited
text is read anew. It is built in a temporary folder under a lock and renamed into place: several peers of one machine
build it once, and a killed one leaves nothing that is taken for a store.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from swarm.canonical import canonical_bytes, digest
from swarm.data.document import Document
from swarm.data.sources import files_of, languages, read_language
from swarm.data.stock import Count, Progress, silent
from swarm.data.tokenizer import Tokenizer
from swarm.errors import DataError, ResourceError
from swarm.run.schema import DataSpec, Language, LanguageStock, Sha256
from swarm.validation import Strict

FORMAT = 1
INDEX = "store.json"
TOGETHER_BYTES = 1 << 20  # text tokenised in one call
SAY_EVERY_BYTES = 32 << 20
LOOK_AGAIN_SECONDS = 0.1


class Held(Strict):
    """What the store holds of a language: a `LanguageStock` but for the sequences, whose length is not the store's."""

    documents: int = Field(ge=1, lt=2**53)
    text_bytes: int = Field(ge=1, lt=2**53)
    tokens: int = Field(ge=1, lt=2**53)
    digest: Sha256


class Index(Strict):
    """store.json."""

    format: int
    tokenizer: Sha256
    languages: dict[Language, Held] = Field(min_length=1)


Counts = Mapping[str, Held]


class TokenStore:
    """Sequences by language and number. `stock` is what was counted when it was built."""

    def __init__(self, folder: Path, counts: Counts, tokenizer: Tokenizer, length: int) -> None:
        self.folder = folder
        self.sequence_length = length
        self.token_bytes = tokenizer.token_bytes
        self.stock: dict[str, LanguageStock] = {}
        self._tokens: dict[str, np.ndarray] = {}
        for language, count in sorted(counts.items()):
            sequences = count.tokens // length
            if sequences == 0:
                raise DataError(
                    f"{language} has {count.tokens} tokens in {count.documents} documents, fewer than one "
                    f"sequence of {length}; add text, leave it out, or lower model.sequence_length"
                )
            self.stock[language] = LanguageStock(**count.model_dump(), sequences=sequences)
            self._tokens[language] = np.memmap(folder / _file_name(language), dtype=_dtype(tokenizer), mode="r")
            assert len(self._tokens[language]) == count.tokens

    def sequence(self, language: str, index: int) -> np.ndarray:
        """(sequence_length,) int64 token ids. DataError where the file on disk holds an id that cannot be."""
        start = index * self.sequence_length
        ids = np.asarray(self._tokens[language][start : start + self.sequence_length], dtype=np.int64)
        if int(ids.max()) >= len(self.token_bytes):
            raise DataError(f"{self.folder / _file_name(language)} is damaged; delete that folder, it is made again")
        return ids


def open_store(
    data: DataSpec,
    tokenizer: Tokenizer,
    sequence_length: int,
    *,
    root: Path | None,
    cache: Path,
    progress: Progress = silent,
) -> TokenStore:
    """The store of this data, from the cache or built now. Safe from several processes at once.

    Errors: DataError (the text), ResourceError (disk full, cache not writable). `progress` gets plain lines and may
    raise to cancel.
    """
    folder = cache / f"tokens-{_key(data, tokenizer, root)[:32]}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if (counts := _counts(folder, tokenizer)) is None:
            with _lock(folder.with_suffix(".lock"), progress):
                if (counts := _counts(folder, tokenizer)) is None:
                    _build(folder, data, tokenizer, root, progress)
                    counts = _counts(folder, tokenizer)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "choose another cache folder"
        raise ResourceError(f"{folder}: cannot be written: {error.strerror or error}; {remedy}") from None
    assert counts is not None, f"{folder} was built and is not there"
    return TokenStore(folder, counts, tokenizer, sequence_length)


def _build(folder: Path, data: DataSpec, tokenizer: Tokenizer, root: Path | None, progress: Progress) -> None:
    for left in folder.parent.glob(f".{folder.name}-*"):  # of a killed process: the lock is ours, so nobody uses it
        shutil.rmtree(left, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        codes = languages(data, root)
        counts: dict[str, Held] = {}
        for number, code in enumerate(codes, start=1):
            progress(f"reading {code} ({number} of {len(codes)})")
            counts[code] = _write_language(making / _file_name(code), data, tokenizer, root, code, progress)
        index = Index(format=FORMAT, tokenizer=tokenizer.digest, languages=counts)
        with (making / INDEX).open("wb") as file:
            file.write(canonical_bytes(index.model_dump()))
            os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write_language(
    path: Path, data: DataSpec, tokenizer: Tokenizer, root: Path | None, language: str, progress: Progress
) -> Held:
    count, said = Count(), 0
    with path.open("wb") as file:
        for documents in _together(read_language(data, root, language)):
            for document, ids in zip(documents, tokenizer.encode_all([d.text for d in documents]), strict=True):
                count.add(document)
                count.tokens += len(ids) + 1
                file.write(np.array([*ids, tokenizer.end_id], dtype=_dtype(tokenizer)).tobytes())
            if count.text_bytes - said >= SAY_EVERY_BYTES:
                said = count.text_bytes
                progress(f"reading {language}: {said / 1e6:.0f} MB")
        file.flush()
        os.fsync(file.fileno())
    return Held(documents=count.documents, text_bytes=count.text_bytes, tokens=count.tokens, digest=count.digest)


def _together(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Lists of about 1 MiB of text: enough for the tokenizer's threads, bounded in memory."""
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document.text)
        if size >= TOGETHER_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _counts(folder: Path, tokenizer: Tokenizer) -> Counts | None:
    """What the index of a finished store says; None where there is none, or its files do not have the sizes it says."""
    try:
        index = Index.model_validate_json((folder / INDEX).read_bytes())
        width = _dtype(tokenizer).itemsize
        fits = all((folder / _file_name(c)).stat().st_size == n.tokens * width for c, n in index.languages.items())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    known = (index.format, index.tokenizer) == (FORMAT, tokenizer.digest)
    return index.languages if known and fits else None


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    """An advisory lock that the system frees when its holder dies. Waiting can be interrupted through `progress`."""
    with path.open("w") as file:
        waits = 0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waits % 50 == 0:
                    progress("another process of this machine is reading the same text; waiting for it")
                waits += 1
                time.sleep(LOOK_AGAIN_SECONDS)
        yield


def _key(data: DataSpec, tokenizer: Tokenizer, root: Path | None) -> str:
    sources = [source.model_dump(mode="json", exclude={"weight", "licence"}) for source in data.sources]
    files = [path for source in data.sources for path in files_of(source, root)]
    stats = [(str(path.resolve()), path.stat()) for path in files if path.exists()]
    value = {
        "format": FORMAT,
        "sources": sources,
        "tokenizer": tokenizer.digest,
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
    }
    return digest(canonical_bytes(value))


def _file_name(language: str) -> str:
    return f"{language}.tokens"


def _dtype(tokenizer: Tokenizer) -> np.dtype:
    return np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
