"""Two configurations or manifests compared field by field: what a refused peer is told."""

from __future__ import annotations

from typing import Any

from swarm.run.schema import RunConfig
from swarm.validation import show

_ABSENT = object()


def diff(here: RunConfig, there: RunConfig) -> list[str]:
    """The fields that differ, one line each: "optimizer.learning_rate: 0.001 here, 0.0006 there"."""
    ours, theirs = (_flatten(config.model_dump(mode="json")) for config in (here, there))
    lines = []
    for path in sorted(ours.keys() | theirs.keys()):
        left, right = (show(side[path]) if path in side else "absent" for side in (ours, theirs))
        if ours.get(path, _ABSENT) != theirs.get(path, _ABSENT):
            lines.append(f"{path}: {left} here, {right} there")
    return lines


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and (value or not path):
        items = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: value}
    return {leaf: item for inner, part in items for leaf, item in _flatten(part, inner).items()}
