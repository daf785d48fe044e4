"""Sources: where the text of a run comes from, as documents in one agreed order.

The order is part of the agreement, since the plan names samples by number: sources as the manifest lists them, within
a source its files by name, within a file its rows. A folder holds `<lang>.jsonl|.txt|.parquet` or `<lang>/` with such
files; a corpus folder holds the same below `train/`. Other files are passed over, so a README may lie there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from swarm.data.document import Document
from swarm.data.formats import FORMATS, read_jsonl, read_parquet, read_text
from swarm.data.hub import local_folder, read_hub
from swarm.errors import DataError
from swarm.run.portable import why_not_portable
from swarm.run.schema import DataSpec, SourceSpec

STARTER = Path(__file__).resolve().parent / "starter"
LANGUAGE = re.compile(r"[a-z]{2,4}(-[A-Za-z0-9]{2,8}){0,2}")
NOT_LANGUAGES = {"dev", "test", "data", "docs", "raw", "src", "eval"}  # folder names that look like codes
READERS = {"jsonl": read_jsonl, "text": read_text, "parquet": read_parquet}


def read_documents(source: SourceSpec, root: Path | None, language: str | None = None) -> Iterator[Document]:
    """Documents of one source, languages in alphabetical order; only `language` if given.

    `root` is the folder that relative paths start from and may not leave; None: the working folder, any path.
    `max_documents` counts per language. DataError names file and line; a language without a document is one.
    """
    for code in languages_of(source, root):
        if language in (None, code):
            count = 0
            for id_, text in islice(_read(source, root, code), source.max_documents):
                count += 1
                yield Document(code, id_, text)
            if count == 0:
                raise DataError(f"{describe(source, root)}: no text in {code}; add some, or leave this language out")


def languages_of(source: SourceSpec, root: Path | None) -> tuple[str, ...]:
    """The languages a source holds, sorted. DataError where one that it names is not there."""
    if source.language is not None:
        return (source.language,)
    found = folder_files(_folder(source, root), source.split)
    if missing := sorted(set(source.languages or ()) - set(found)):
        there = f"{describe(source, root)} has no text in {', '.join(missing)}"
        raise DataError(f"{there} (it has: {', '.join(found)}); add <language>.jsonl, or change languages")
    return tuple(sorted(source.languages or found))


def read_language(data: DataSpec, root: Path | None, language: str) -> Iterator[Document]:
    """All documents of one language, source after source: the order that samples are numbered in."""
    for source in data.sources:
        if language in languages_of(source, root):
            yield from read_documents(source, root, language)


def languages(data: DataSpec, root: Path | None) -> tuple[str, ...]:
    """Every language of a run's data, sorted."""
    return tuple(sorted({code for source in data.sources for code in languages_of(source, root)}))


def texts_by_language(data: DataSpec, root: Path | None) -> dict[str, Iterator[str]]:
    """What `swarm.data.tokenizer.train` takes: the texts of each language, read when asked for."""

    def texts(code: str) -> Iterator[str]:
        return (document.text for document in read_language(data, root, code))

    return {code: texts(code) for code in languages(data, root)}


def files_of(source: SourceSpec, root: Path | None) -> list[Path]:
    """The local files of a source in reading order (of a data-set folder: all of it); empty for the Hub."""
    if source.kind == "huggingface":
        folder = local_folder(source, root)
        return sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
    if source.kind in READERS:
        return [_place(source, root)]
    found = folder_files(_folder(source, root), source.split)
    return [path for code in languages_of(source, root) for path in found[code]]


def folder_files(folder: Path, split: str = "train") -> dict[str, list[Path]]:
    """Files by language of a folder, or of its `train/` where it has one. DataError where it holds no language."""
    try:
        inner = folder / split
        base = inner if inner.is_dir() else folder
        found: dict[str, list[Path]] = {}
        for entry in sorted(base.iterdir()):
            code = entry.stem if entry.suffix in FORMATS else entry.name
            if entry.name.startswith(".") or not LANGUAGE.fullmatch(code):
                continue
            if entry.suffix in FORMATS:
                found.setdefault(code, []).append(entry)
            elif code not in NOT_LANGUAGES and entry.is_dir():
                found.setdefault(code, []).extend(_files_in(entry))
            elif entry.is_symlink():
                entry.stat()  # a loop or a dangling link says so, instead of being passed over
    except OSError as error:
        named = error.filename or folder
        raise DataError(f"{named}: cannot be read: {error.strerror or error}; check the path") from None
    found = {code: files for code, files in sorted(found.items()) if files}
    if not found:
        raise DataError(f"{base}: holds no text; put <language>.jsonl, .txt or .parquet there, such as en.jsonl")
    return found


def describe(source: SourceSpec, root: Path | None) -> str:
    """A source in an error message."""
    if source.kind == "starter":
        return "the starter corpus"
    return f"data set {source.path}" if source.kind == "huggingface" else str(_place(source, root))


def _files_in(folder: Path) -> list[Path]:
    files = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in files:
        if entry.is_dir():
            raise DataError(f"{entry}: a folder inside a language's folder; move its files to {folder}")
    return [entry for entry in files if entry.suffix in FORMATS]


def _read(source: SourceSpec, root: Path | None, language: str) -> Iterator[tuple[str, str]]:
    if source.kind == "huggingface":
        yield from read_hub(source, root)
    elif source.kind in READERS:
        yield from READERS[source.kind](_place(source, root), source.column)
    else:
        for path in folder_files(_folder(source, root), source.split)[language]:
            yield from FORMATS[path.suffix](path, source.column)


def _folder(source: SourceSpec, root: Path | None) -> Path:
    if source.kind == "starter":
        return STARTER
    folder = _place(source, root)
    if folder.is_file():
        kinds = {".txt": "text"}
        kind = kinds.get(folder.suffix, folder.suffix.lstrip("."))
        raise DataError(f'{folder}: a file, not a folder; use kind = "{kind}" and language, or name its folder')
    return folder


def _place(source: SourceSpec, root: Path | None) -> Path:
    """The path of a local source. With a root it must lie below it: a manifest may come from a stranger."""
    assert source.path is not None
    if root is None:
        return Path(source.path).expanduser()
    if reason := why_not_portable(source):
        raise DataError(f"{reason}; a run's data lies below the folder that --data names ({root})")
    return root / source.path
