"""The shared state as safetensors: on disk, and as the bytes that a donor serves.

Written and read here and not by the safetensors library, because the layout is known beforehand: the file's size, its
header and every tensor's place are checked before memory is taken, and the values go straight between the file and the
flat vectors, without a second copy. Any safetensors reader opens the file. Same state, same bytes.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from swarm.errors import CheckpointError
from swarm.model.layout import Layout
from swarm.run.schema import RunConfig
from swarm.state.shared import SharedState
from swarm.update.rule import vector_names

FORMAT = "bloomswarm-state-1"
CHUNK_VALUES = 1 << 20
Entries = dict[str, Any]


def file_size(config: RunConfig) -> int:
    """The most bytes that a state of this run may have."""
    layout = Layout.of(config.model)
    names = vector_names(config)
    return 8 + _header_limit(layout, names) + 4 * len(names) * layout.size


def write_state(state: SharedState, file: BinaryIO) -> None:
    """Header, then the vectors one after another; little-endian float32."""
    file.write(header_bytes(state.layout, state.names, state.step, state.samples))
    for vector in state.vectors:
        for start in range(0, vector.size, CHUNK_VALUES):
            file.write(vector[start : start + CHUNK_VALUES].astype("<f4", copy=False).data)


def header_bytes(layout: Layout, names: tuple[str, ...], step: int, samples: int) -> bytes:
    """What comes before the values."""
    header = {"__metadata__": {"format": FORMAT, "samples": str(samples), "step": str(step)}}
    data = json.dumps(header | _entries(layout, names), separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    return struct.pack("<Q", len(data)) + data


def read_state(config: RunConfig, file: BinaryIO, size: int, source: str) -> SharedState:
    """The state in `file`, which is `size` bytes long. CheckpointError: truncated, other tensors, values not finite."""
    layout, names = Layout.of(config.model), vector_names(config)
    step, samples = read_head(layout, names, file, size, source)
    state = SharedState.empty(config, step, samples)
    for name, vector in zip(names, state.vectors, strict=True):
        _read_vector(vector, file, source)
        _require_usable(state, name, vector, source)
    return state


def read_head(layout: Layout, names: tuple[str, ...], file: BinaryIO, size: int, source: str) -> tuple[int, int]:
    """Step and samples; `file` is then at the first value. CheckpointError as for `read_state`."""
    header = _read_header(_header_limit(layout, names), file, size, source)
    step, samples = _metadata(header.pop("__metadata__", None), source)
    _require_entries(_entries(layout, names), header, source)
    wanted = 4 * len(names) * layout.size
    if (found := size - file.tell()) != wanted:
        raise CheckpointError(f"{source}: {found} bytes of values, the model has {wanted}; it is truncated")
    return step, samples


def state_to_bytes(state: SharedState) -> bytes:
    """The file's bytes in memory: what a donor serves."""
    buffer = io.BytesIO()
    write_state(state, buffer)
    return buffer.getvalue()


def state_from_bytes(config: RunConfig, data: bytes, source: str = "the state received") -> SharedState:
    """The inverse of `state_to_bytes`, with every check of `read_state`."""
    return read_state(config, io.BytesIO(data), len(data), source)


def read_state_file(config: RunConfig, path: Path) -> SharedState:
    """The state in a file. CheckpointError also where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return read_state(config, file, path.stat().st_size, str(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}; use another checkpoint") from None


def _entries(layout: Layout, names: tuple[str, ...]) -> Entries:
    """What the header says of each tensor, in the order of the file."""
    entries: Entries = {}
    for index, name in enumerate(names):
        for tensor in layout.tensors:
            start = 4 * (index * layout.size + tensor.offset)
            offsets = [start, start + 4 * tensor.size]
            entries[f"{name}/{tensor.name}"] = {
                "dtype": "F32",
                "shape": list(tensor.shape),
                "data_offsets": offsets,
            }
    return entries


def _header_limit(layout: Layout, names: tuple[str, ...]) -> int:
    return 2 * len(json.dumps(_entries(layout, names))) + 4096


def _read_header(limit: int, file: BinaryIO, size: int, source: str) -> Entries:
    start = file.read(8)
    if len(start) < 8:
        raise CheckpointError(f"{source}: {size} bytes, no header; it is truncated, use another checkpoint")
    (length,) = struct.unpack("<Q", start)
    if length > limit or length > size - 8:
        raise CheckpointError(f"{source}: a header of {length} bytes does not fit this model and file; it is damaged")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise CheckpointError(f"{source}: the header is not JSON; it is damaged, use another checkpoint") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{source}: the header is not a table; it is damaged, use another checkpoint")
    return header


def _metadata(metadata: Any, source: str) -> tuple[int, int]:
    """Step and samples."""
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CheckpointError(f"{source}: not a {FORMAT} file; use a checkpoint that bloomswarm wrote")
    numbers = [metadata.get(key) for key in ("step", "samples")]
    if not all(isinstance(n, str) and n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
        raise CheckpointError(f"{source}: step and samples are {numbers!r:.80}; it is damaged, use another checkpoint")
    return int(numbers[0]), int(numbers[1])  # type: ignore[arg-type]


def _require_entries(wanted: Entries, found: Entries, source: str) -> None:
    other = "it is of another model, use the run's own checkpoint"
    if missing := next((name for name in wanted if name not in found), None):
        raise CheckpointError(f"{source}: tensor {missing} is missing; {other}")
    if extra := next((name for name in found if name not in wanted), None):
        raise CheckpointError(f"{source}: tensor {extra!r:.120} is not part of the model; {other}")
    for key in ("dtype", "shape", "data_offsets"):  # a misshapen tensor moves all behind it: name it and not them
        for name, entry in wanted.items():
            there = found[name].get(key) if isinstance(found[name], dict) else None
            if there != entry[key]:
                raise CheckpointError(f"{source}: {name} has {key} {there!r:.80}, the model {entry[key]}; {other}")


def _read_vector(vector: np.ndarray, file: BinaryIO, source: str) -> None:
    target = vector.data.cast("B")
    done = 0
    while done < len(target):
        count = file.readinto(target[done : done + 4 * CHUNK_VALUES])  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(f"{source}: it ended while it was read; use another checkpoint")
        done += count


def _require_usable(state: SharedState, name: str, vector: np.ndarray, source: str) -> None:
    """Finite, and second moments not negative (they go under a square root)."""
    lowest = 0.0 if name in state.rule.never_negative else -np.inf
    for start in range(0, vector.size, CHUNK_VALUES):
        part = vector[start : start + CHUNK_VALUES]
        good = np.isfinite(part) & (part >= lowest)
        if not good.all():
            index = start + int(good.argmin())
            where = f"{name}/{state.layout.tensor_at(index).name}"
            raise CheckpointError(f"{source}: {where} holds {vector[index]}; it is damaged, use another checkpoint")
