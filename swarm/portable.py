"""Where local text lies: in a manifest, paths are relative to one data root that every peer chooses for itself.

The owner's `/home/ana/corpus` means nothing on another machine; worse, a stranger's manifest that named
`/home/you/letters` would have them trained on. So a manifest holds only relative paths, and `join --data ROOT` says
where they start.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from swarm.errors import DataError
from swarm.schema import RunConfig, SourceSpec

LOCAL_KINDS = ("jsonl", "text", "parquet", "folder")


def why_not_portable(source: SourceSpec) -> str | None:
    """What is wrong with a source's path for other machines; None where nothing is."""
    if source.path is None:
        return None
    path = PurePosixPath(source.path)
    if path.is_absolute() or source.path.startswith("~") or "\\" in source.path or "\0" in source.path:
        return f"path {source.path[:60]!r} is a place on one machine"
    if ".." in path.parts:
        return f"path {source.path[:60]!r} leaves the data folder"
    if source.kind == "huggingface" and (source.path.startswith(".") or len(path.parts) > 2):
        return f"path {source.path[:60]!r} is not a Hub data set's name"
    return None


def portable(config: RunConfig, base: Path) -> tuple[RunConfig, Path]:
    """`config` with local paths relative to one root, and that root. Paths in `config` are relative to `base`.

    A single folder becomes "." and is itself the root, so that `--data FOLDER` is all a volunteer has to say.
    Raises DataError where a path does not exist.
    """
    places: dict[int, Path] = {}
    for index, source in enumerate(config.data.sources):
        if source.kind in LOCAL_KINDS and source.path is not None:
            place = Path(os.path.abspath(base / Path(source.path).expanduser()))
            if not place.exists():
                raise DataError(f"there is no {place} (data.sources[{index}].path); check the path")
            places[index] = place
    if not places:
        return config, base
    root = Path(os.path.commonpath([place if place.is_dir() else place.parent for place in places.values()]))
    sources = tuple(
        source.model_copy(update={"path": places[index].relative_to(root).as_posix()}) if index in places else source
        for index, source in enumerate(config.data.sources)
    )
    data = config.data.model_copy(update={"sources": sources})
    return config.model_copy(update={"data": data}), root
