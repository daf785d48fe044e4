"""A checkpoint: one folder that is complete or does not exist, and that needs nothing else to be used.

    checkpoints/step-00000040/
        state.safetensors   parameters, both moments, step, samples     (swarm/state/state_file.py)
        checkpoint.json     digests of everything, data cursor, head of the log, whatever the peer adds
        manifest.json       the signed manifest
        tokenizer.json
        spans.blake3        32 bytes for each span of the state: told by donors without hashing all of it first

It is written beside its place, synced and renamed (`swarm/durable.py`), so no reader ever finds half of one.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from swarm.canonical import canonical_bytes, digest
from swarm.data.tokenizer import MAX_TOKENIZER_BYTES
from swarm.durable import remove, remove_stale, sync_folder, synced, unfinished
from swarm.errors import CheckpointError, ConfigError, ResourceError
from swarm.run.manifest import MAX_MANIFEST_BYTES, SignedManifest
from swarm.run.schema import ModelSpec, Sha256
from swarm.state.shared import SharedState
from swarm.state.state_file import read_state_file, write_state
from swarm.validation import Strict, parse_json

STATE, RECORD, MANIFEST, TOKENIZER = "state.safetensors", "checkpoint.json", "manifest.json", "tokenizer.json"
SPANS = "spans.blake3"
MAX_RECORD_BYTES = 16 << 20
NAME = re.compile(r"step-([0-9]{8,12})")


class Record(Strict):
    """checkpoint.json. `digest` is over the canonical bytes of all other fields."""

    format: Literal["bloomswarm-checkpoint-2"] = "bloomswarm-checkpoint-2"
    manifest: Sha256
    step: int = Field(ge=0)
    samples: int = Field(ge=0)
    state: Sha256  # SharedState.digest()
    tokenizer: Sha256
    log_head: Sha256 | None
    cursor: dict[str, Any]
    extra: dict[str, Any]
    digest: Sha256

    @staticmethod
    def sealed(values: dict[str, Any]) -> bytes:
        """The JSON of a record with these fields and their digest."""
        values = {"format": "bloomswarm-checkpoint-2"} | values
        return canonical_bytes(values | {"digest": digest(canonical_bytes(values))}) + b"\n"

    def is_intact(self) -> bool:
        try:
            return digest(canonical_bytes(self.model_dump(mode="json", exclude={"digest"}))) == self.digest
        except ValueError:  # NaN or endless nesting in cursor or extra: we never wrote that
            return False


@dataclass(frozen=True)
class Checkpoint:
    """What `load` found, all of it checked."""

    path: Path
    manifest: SignedManifest
    state: SharedState
    tokenizer: bytes
    cursor: dict[str, Any]
    log_head: str | None
    extra: dict[str, Any]

    @property
    def spec(self) -> ModelSpec:
        return self.manifest.manifest.model


def save(
    folder: Path,
    state: SharedState,
    *,
    manifest: SignedManifest,
    tokenizer: bytes,
    cursor: Mapping[str, Any],
    log_head: str | None = None,
    extra: Mapping[str, Any] | None = None,
    keep: int = 3,
) -> Path:
    """Write `folder`/step-N and keep the last `keep`; the new folder. ResourceError (disk full) leaves what was there.

    cursor, extra: JSON values, given back as they are.
    """
    digests = state.span_digests()
    record = {
        "manifest": manifest.digest,
        "step": state.step,
        "samples": state.samples,
        "state": state.root(digests).hex(),
        "tokenizer": digest(tokenizer),
        "log_head": log_head,
        "cursor": dict(cursor),
        "extra": dict(extra or {}),
    }
    sealed = Record.sealed(record)
    assert len(sealed) <= MAX_RECORD_BYTES, f"cursor and extra take {len(sealed)} bytes"
    target = folder / f"step-{state.step:08d}"
    with _explained(target, 4 * len(state.vectors) * state.layout.size), unfinished(folder, target.name) as making:
        with synced(making / STATE) as file:
            write_state(state, file)
        files = {TOKENIZER: tokenizer, MANIFEST: manifest.to_json(), SPANS: b"".join(digests), RECORD: sealed}
        for name, data in files.items():
            with synced(making / name) as file:
                file.write(data)
        sync_folder(making)
        if target.exists():  # a folder cannot be renamed onto another one
            remove(target)
        making.rename(target)
        sync_folder(folder)
        for old in saved(folder)[keep:]:
            if old != target:
                remove(old)
    return target


def load(path: Path, expected_manifest: str | None = None) -> Checkpoint:
    """Everything in the folder `path`, checked. CheckpointError in one line: truncated, altered, another manifest's."""
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a checkpoint folder; name one like checkpoints/step-00000040")
    try:
        manifest = SignedManifest.from_json(_read(path / MANIFEST, MAX_MANIFEST_BYTES), str(path / MANIFEST))
        record = parse_json(Record, _read(path / RECORD, MAX_RECORD_BYTES), str(path / RECORD))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    if not record.is_intact():
        raise CheckpointError(f"{path / RECORD}: its digest is not that of its fields; it was altered, use another")
    _require_manifest(path, record, manifest, expected_manifest)
    tokenizer = _read(path / TOKENIZER, MAX_TOKENIZER_BYTES)
    if not digest(tokenizer) == record.tokenizer == manifest.manifest.tokenizer.digest:
        raise CheckpointError(f"{path / TOKENIZER} is not the manifest's tokenizer; use another checkpoint")
    state = read_state_file(manifest.manifest, path / STATE)
    if (state.step, state.samples) != (record.step, record.samples) or state.digest() != record.state:
        raise CheckpointError(f"{path / STATE} is not the state that {RECORD} describes; use another checkpoint")
    return Checkpoint(path, manifest, state, tokenizer, record.cursor, record.log_head, record.extra)


def record_of(path: Path) -> Record:
    """What the checkpoint at `path` says of itself; its state is not looked at. CheckpointError."""
    try:
        return parse_json(Record, _read(path / RECORD, MAX_RECORD_BYTES), str(path / RECORD))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def state_file_of(path: Path) -> Path:
    """The file with the shared state, in a checkpoint's folder."""
    return path / STATE


def span_digests_of(path: Path, spans: int) -> list[bytes] | None:
    """The digests of the state's spans as they were written with it; None where they are not there. Not checked."""
    try:
        data = (path / SPANS).read_bytes() if (path / SPANS).stat().st_size == 32 * spans else b""
    except OSError:
        return None
    return [data[at : at + 32] for at in range(0, len(data), 32)] or None


def latest(folder: Path) -> Path | None:
    """The checkpoint of the highest step in `folder`, not yet checked; removes what dead writers left."""
    remove_stale(folder)
    return next(iter(saved(folder)), None)


def saved(folder: Path) -> list[Path]:
    """All checkpoints in `folder`, the highest step first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _require_manifest(path: Path, record: Record, manifest: SignedManifest, expected: str | None) -> None:
    if record.manifest != manifest.digest:
        raise CheckpointError(
            f"{path}: {RECORD} is of manifest {record.manifest[:16]}, {MANIFEST} is {manifest.digest[:16]}; "
            "the files are of two runs, use another checkpoint"
        )
    if expected is not None and manifest.digest != expected:
        raise CheckpointError(
            f"{path} is of manifest {manifest.digest[:16]}, the run is {expected[:16]}; use a checkpoint of this run"
        )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}; use another checkpoint") from None
    if len(data) > limit:
        raise CheckpointError(f"{path}: larger than {limit} bytes; it is damaged, use another checkpoint")
    return data


@contextmanager
def _explained(target: Path, size_bytes: int) -> Iterator[None]:
    """A full disk or a folder that cannot be written, in one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk is full: a checkpoint takes {size_bytes / 1e6:.1f} MB"
            remedy = "free some space; training can go on from the last checkpoint"
        else:
            what, remedy = error.strerror or str(error), "check the folder and its mode"
        raise ResourceError(f"{target} could not be written: {what}; {remedy}") from error
