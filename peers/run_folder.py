"""A run's folder, as `create` makes it: manifest, tokenizer, owner's key, initial weights, and the last link."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.canonical import digest
from swarm.durable import sync_folder, synced
from swarm.errors import ConfigError

if TYPE_CHECKING:
    from swarm.run.manifest import SignedManifest

MANIFEST, TOKENIZER, LINK, PIN, REACHED = "manifest.json", "tokenizer.json", "link", "pin", "reached"
WEIGHTS = "initial.weights"  # of a run that starts from a model on its owner's disk: little-endian float32


class RunFolder:
    """Reads and checks the files of one run. Peers keep manifest, tokenizer and weights in their own folder too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self) -> SignedManifest:
        from swarm.run.manifest import SignedManifest

        return SignedManifest.from_json(self._read(MANIFEST), str(self.path / MANIFEST))

    def tokenizer(self) -> bytes:
        """tokenizer.json's bytes. ConfigError where they are not the manifest's."""
        data = self._read(TOKENIZER)
        expected = self.manifest().manifest.tokenizer.digest
        if digest(data) != expected:
            raise ConfigError(f"{self.path / TOKENIZER} was changed: it is not the manifest's {str(expected)[:16]}")
        return data

    def has_manifest(self) -> bool:
        return (self.path / MANIFEST).is_file() and (self.path / TOKENIZER).is_file()

    def write(self, manifest: bytes, tokenizer: bytes) -> None:
        write_atomically(self.path / TOKENIZER, tokenizer)
        write_atomically(self.path / MANIFEST, manifest)

    def write_pin(self, pin: tuple[int, str]) -> None:
        """The round and root that a link has pinned: they count for this folder from now on."""
        write_atomically(self.path / PIN, f"{pin[0]}:{pin[1]}\n".encode())

    def pin(self) -> tuple[int, str] | None:
        """ConfigError where the file was changed."""
        if not (self.path / PIN).is_file():
            return None
        number, _, root = self._read(PIN).decode("ascii", "replace").strip().partition(":")
        if not number.isdigit() or len(number) > 16 or len(root) != 64:
            raise ConfigError(f"{self.path / PIN} is not <round>:<64 hex digits>; remove it and join by the link again")
        return int(number), root

    def weights(self) -> Path | None:
        """The file of the weights that the run starts from, where they are not drawn or taken from the Hub."""
        path = self.path / WEIGHTS
        return path if path.is_file() else None

    def write_weights(self, data: bytes | memoryview) -> None:
        write_atomically(self.path / WEIGHTS, data)

    def write_link(self, link: str) -> None:
        write_atomically(self.path / LINK, link.encode() + b"\n")

    def link(self) -> str:
        """The link that a seed here has written last."""
        if not (self.path / LINK).is_file():
            raise ConfigError(f"{self.path}: no seed has run here yet; start it: bloomswarm seed {self.path}")
        return self._read(LINK).decode("utf-8", "replace").strip()

    def last_port(self) -> int | None:
        """The TCP port of the first address in that link."""
        found = re.search(r"/tcp/([0-9]{1,5})/p2p/", self.link()) if (self.path / LINK).is_file() else None
        return int(found.group(1)) if found else None

    def write_reached(self, step: int) -> None:
        write_atomically(self.path / REACHED, f"{step}\n".encode())

    def reached(self) -> int:
        """The step at which a seed here has seen the swarm; 0 where it never did, or the file was changed."""
        path = self.path / REACHED
        text = path.read_bytes()[:20].strip() if path.is_file() else b""
        return int(text) if text.isdigit() else 0

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{self.path} holds no {name}: name the folder that `bloomswarm create` made") from None


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """All of `data` or what was there before, whenever the process or the machine dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.unlink(missing_ok=True)  # of a dead process that had our number
    try:
        with synced(partial) as file:
            file.write(data)
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
