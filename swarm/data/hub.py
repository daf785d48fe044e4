"""Hugging Face data sets, streamed: nothing is downloaded beyond what is read.

A name in a manifest may come from a stranger, and `load_dataset("letters")` reads ./letters where there is such a
folder. So a name is a folder only below the data root that this peer chose; a folder of that name in the working
folder is refused, not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from swarm.data.formats import missing_extra, text_of
from swarm.errors import DataError, NetworkError
from swarm.release.hub import quiet
from swarm.run.schema import SourceSpec


def read_hub(source: SourceSpec, root: Path | None) -> Iterator[tuple[str, str]]:
    """(id, text) of a data set of the Hub, or of a local data-set folder below `root`. Needs `datasets`."""
    what = f"data set {source.path}"
    for number, row in enumerate(_rows(_stream(source, root, what), what), start=1):
        if row.get(source.column, "") is not None and (text := text_of(row, source.column, f"{what}: row {number}")):
            given = row.get("id")
            yield (str(given)[:200] if isinstance(given, str | int) else f"{source.path}:{number}"), text


def local_folder(source: SourceSpec, root: Path | None) -> Path | None:
    """The data-set folder below `root` that a source names; None where it is the Hub's."""
    assert source.path is not None
    return root / source.path if root is not None and (root / source.path).is_dir() else None


def _stream(source: SourceSpec, root: Path | None, what: str) -> Iterable[dict[str, Any]]:
    assert source.path is not None
    try:
        import datasets
    except ImportError:
        raise missing_extra(f"{what}: reading it", "datasets") from None
    name = source.path
    if (folder := local_folder(source, root)) is not None:
        name = str(folder.resolve())
    elif root is not None and Path(name).exists():
        here = Path(name).resolve()
        raise DataError(f"{what}: {here} would be read instead of the Hub's; work in another folder, or set --data")
    try:
        with quiet():
            return datasets.load_dataset(
                name, source.config, split=source.split, revision=source.revision, streaming=True
            )
    except ConnectionError as error:  # what the library makes of no network, and of its offline mode
        raise NetworkError(f"{what}: {_one_line(error)}; check the network, or use text on this machine") from None
    except Exception as error:  # the library raises dozens of types for a wrong name, split or config
        raise DataError(f"{what}: {_one_line(error)}; check name, config, split and revision") from None


def _rows(stream: Iterable[dict[str, Any]], what: str) -> Iterator[dict[str, Any]]:
    rows = iter(stream)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # reading is lazy, so the network and the files fail here
            raise DataError(
                f"{what}: reading stopped: {_one_line(error)}; check the network and the data set"
            ) from None
        yield row


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
