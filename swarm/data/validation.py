"""Validation text: what is measured and never trained on.

It lies in `validation/` beside `train/` (or beside the files of a folder without `train/`), in the same layout. A
source without it has none: text that was trained on is never taken in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from pathlib import Path

from swarm.data.document import Document
from swarm.data.formats import FORMATS
from swarm.data.sources import STARTER, files_of, folder_files
from swarm.errors import DataError
from swarm.run.schema import DataSpec, SourceSpec

FOLDER = "validation"


def read_validation(data: DataSpec, root: Path | None, limit: int | None = None) -> dict[str, list[Document]]:
    """The validation documents of a run by language, at most `limit` (the first) each; {} where there is none."""
    found: dict[str, list[Document]] = {}
    trained = {path.resolve() for source in data.sources for path in files_of(source, root)}
    for source in data.sources:
        if (folder := _beside(source, root)) is not None:
            wanted = source.languages or ((source.language,) if source.language else None)
            for code, documents in _read(folder, source.column, limit, trained).items():
                if wanted is None or code in wanted:
                    found.setdefault(code, []).extend(documents)
    return {code: documents[:limit] for code, documents in sorted(found.items())}


def read_evaluation(path: Path, column: str = "text", limit: int | None = None) -> dict[str, list[Document]]:
    """What `eval --data PATH` measures: PATH/validation where there is one, else PATH itself; or one <lang> file."""
    if path.is_file():
        if path.suffix not in FORMATS:
            raise DataError(f"{path}: not .jsonl, .txt or .parquet; name a file such as en.jsonl, or a folder of them")
        return {path.stem: _documents(path.stem, [path], column, limit)}
    return _read(path / FOLDER if (path / FOLDER).is_dir() else path, column, limit)


def _beside(source: SourceSpec, root: Path | None) -> Path | None:
    """The folder of validation text that belongs to a source."""
    if source.kind == "starter":
        return STARTER / FOLDER
    if source.kind == "huggingface":
        return None
    if source.kind == "folder":
        assert source.path is not None
        top = ((root or Path()) / source.path).absolute()
        nearest = [top / FOLDER] + ([top.parent / FOLDER] if top.name == source.split else [])
    else:
        file = files_of(source, root)[0].absolute()
        nearest = [file.parent / FOLDER, file.parent.parent / FOLDER]
    return next((folder for folder in nearest if folder.is_dir()), None)


def _read(
    folder: Path, column: str, limit: int | None, trained: AbstractSet[Path] = frozenset()
) -> dict[str, list[Document]]:
    """The documents of a folder's files that are not among those `trained` on."""
    held_out = {
        code: [path for path in paths if path.resolve() not in trained] for code, paths in folder_files(folder).items()
    }
    files = {code: paths for code, paths in held_out.items() if paths}
    return {code: _documents(code, paths, column, limit) for code, paths in files.items()}


def _documents(code: str, paths: list[Path], column: str, limit: int | None) -> list[Document]:
    def every() -> Iterator[Document]:
        for path in paths:
            for id_, text in FORMATS[path.suffix](path, column):
                yield Document(code, id_, text)

    documents = list(islice(every(), limit))
    if not documents:
        raise DataError(f"{paths[0]}: empty; add text, or remove the file")
    return documents
