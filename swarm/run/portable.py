"""Where local text lies: in a manifest, paths are relative to one data root that every peer chooses for itself.

The owner's `/home/ana/corpus` means nothing on another machine; worse, a stranger's manifest that named
`/home/you/letters` would have them trained on. So a manifest holds only relative paths, and `join --data ROOT` says
where they start. Models and tokenizers that lie on the owner's disk are served by the run, under their last name.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from swarm.errors import DataError
from swarm.run.schema import RunConfig, SourceSpec

LOCAL_KINDS = ("jsonl", "text", "parquet", "folder")
SERVED = "./"  # how an `initial_checkpoint` begins whose weights the run itself serves, by their digest


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


def serves_weights(initial_checkpoint: str | None) -> bool:
    """Whether the run's peers get the weights it starts from out of the swarm: they lay on the owner's disk."""
    return initial_checkpoint is not None and initial_checkpoint.startswith(SERVED)


def why_not_portable_name(source: str) -> str | None:
    """What is wrong with the name of a model or tokenizer for other machines; None where nothing is."""
    name = source.removeprefix(SERVED)
    if name.startswith(("/", "~", ".")) or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name:
        return f"{source[:60]!r} is a place on one machine"
    if source.startswith(SERVED) and "/" in name:
        return f"{source[:60]!r} is a place on one machine"
    return None


def portable_names(config: RunConfig, base: Path) -> tuple[RunConfig, Path | None, Path | str | None]:
    """`config` with names of model and tokenizer for every machine; the model's place here, if any; the tokenizer.

    A path that exists (relative to `base`) keeps only its last part, "./model": what it holds is served by the run.
    """
    checkpoint, tokenizer = config.model.initial_checkpoint, config.tokenizer.source
    model_place, tokenizer_place = _place(checkpoint, base), _place(tokenizer, base)
    if model_place is not None:
        model = config.model.model_copy(update={"initial_checkpoint": SERVED + model_place.name})
        config = config.model_copy(update={"model": model})
    if tokenizer_place is not None:
        named = config.tokenizer.model_copy(update={"source": SERVED + tokenizer_place.name})
        config = config.model_copy(update={"tokenizer": named})
    return config, model_place, tokenizer_place or tokenizer


def _place(source: str | None, base: Path) -> Path | None:
    """Where a model or tokenizer lies on this machine; None where it is a name of the Hub's, or none is named."""
    if source is None:
        return None
    place = Path(os.path.abspath(base / Path(source).expanduser()))
    if place.exists():
        return place
    if source.startswith(("/", "~", ".")):
        raise DataError(f"there is no {place} (named {source[:60]!r}); check the path")
    return None
