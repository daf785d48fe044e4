"""File formats: JSONL, plain text and Parquet to (id, text), streamed.

Files come from people, so every fault ends in one DataError that names file and line (row in Parquet). Memory is
bounded: a line or document longer than `MAX_DOCUMENT_BYTES` is refused after reading that many bytes, never loaded.
Blank text is no document and is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from swarm.data.document import MAX_DOCUMENT_BYTES
from swarm.errors import DataError

TEXT_DOCUMENT_BYTES = 64 << 10  # a plain-text document ends at a blank line, or at the first line end after this
NUL = "holds a NUL character, so it is no text, or is UTF-16; convert it to UTF-8"
ROWS = 256  # Parquet rows decoded at once
Reader = Callable[[Path, str], Iterator[tuple[str, str]]]


def read_jsonl(path: Path, column: str) -> Iterator[tuple[str, str]]:
    """One JSON object a line; `column` holds the text, "id" the id where there is one."""
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0][:80]
            raise DataError(f'{where}: not JSON ({reason}); write one {{"{column}": "..."}} a line') from None
        if not isinstance(row, dict):
            raise DataError(f'{where}: a JSON {_kind(row)}, not an object; write one {{"{column}": "..."}} a line')
        if text := text_of(row, column, where):
            given = row.get("id")
            yield (str(given)[:200] if isinstance(given, str | int) else f"{path.name}:{number}"), text


def read_text(path: Path, column: str = "") -> Iterator[tuple[str, str]]:
    """Plain text: a document is a run of lines up to a blank one, or up to the first line end after 64 KiB."""
    held: list[str] = []
    size = first = 0
    for number, line in _lines(path):
        blank = not line.strip()
        if not blank:
            if "\0" in line:
                raise DataError(f"{path}:{number}: {NUL}")
            first = first if held else number
            held.append(line)
            size += len(line)
        if held and (blank or size >= TEXT_DOCUMENT_BYTES):
            yield f"{path.name}:{first}", "".join(held).rstrip("\r\n")
            held, size = [], 0
    if held:
        yield f"{path.name}:{first}", "".join(held).rstrip("\r\n")


def read_parquet(path: Path, column: str) -> Iterator[tuple[str, str]]:
    """A Parquet file with a column of strings. Needs `pyarrow`."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise missing_extra(f"{path}: reading Parquet", "pyarrow") from None
    _require_file(path)
    try:
        with parquet.ParquetFile(path) as file:
            _require_string_column(file.schema_arrow, column, path, pa.types)
            names = [name for name in (column, "id") if name in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(batch_size=ROWS, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    if row[column] is not None and (text := text_of(row, column, f"{path}: row {number}")):
                        given = row.get("id")
                        yield (str(given)[:200] if isinstance(given, str | int) else f"{path.name}:{number}"), text
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not readable as Parquet: {_first_line(error)}; write the file again") from None


FORMATS: dict[str, Reader] = {".jsonl": read_jsonl, ".txt": read_text, ".parquet": read_parquet}


def text_of(row: dict[str, Any], column: str, where: str) -> str:
    """The text of a row; "" where it is blank. DataError where it is absent, no text, too long or not Unicode."""
    if column not in row:
        has = ", ".join(sorted(map(str, row))[:8])[:200] or "none"
        raise DataError(f'{where}: no column "{column}" (it has: {has}); name the column of the text')
    text = row[column]
    if not isinstance(text, str):
        raise DataError(f'{where}: column "{column}" is a {_kind(text)}, not text; name the column of the text')
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: character {error.start + 1} is half of a surrogate pair; remove it") from None
    if "\0" in text:
        raise DataError(f"{where}: {NUL}")
    if size > MAX_DOCUMENT_BYTES:
        raise DataError(f"{where}: a document of {size} bytes, {MAX_DOCUMENT_BYTES} is the most; split it")
    return text if text.strip() else ""


def missing_extra(what: str, package: str) -> DataError:
    return DataError(f"{what} needs the package {package}, which is not installed; run: pip install 'bloomswarm[data]'")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their number from 1, decoded strictly; a byte order mark at the start is dropped."""
    _require_file(path)
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_DOCUMENT_BYTES + 2):  # + 2: its line end does not count
                number += 1
                if len(line.rstrip(b"\r\n")) > MAX_DOCUMENT_BYTES:
                    raise DataError(
                        f"{path}:{number}: a line of more than {MAX_DOCUMENT_BYTES >> 20} MiB; split it into documents"
                    )
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                    raise DataError(f"{path}:{number}: not UTF-8 ({byte}); convert the file to UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; check the path and its rights") from None


def _require_file(path: Path) -> None:
    """A regular file; FIFOs and devices would block for ever, folders and symlink loops have their own words."""
    try:
        if path.is_dir():
            raise DataError(f'{path}: a folder, not a file; use kind = "folder", or name a file in it')
        if not path.stat() or not path.is_file():
            raise DataError(f"{path}: not a regular file; name a file of text")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; check the path") from None


def _require_string_column(schema: Any, column: str, path: Path, types: Any) -> None:
    if column not in schema.names:
        has = ", ".join(schema.names[:8])[:200] or "none"
        raise DataError(f'{path}: no column "{column}" (it has: {has}); name the column of the text')
    kind = schema.field(column).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise DataError(f'{path}: column "{column}" holds {kind}, not text; name the column of the text')


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "list"}
    return names.get(type(value), "object" if isinstance(value, dict) else type(value).__name__)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
