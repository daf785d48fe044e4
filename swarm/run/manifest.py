"""The manifest: everything the peers of one run must agree on, frozen, canonical, signed by the run's owner.

Its digest *is* the run's identity: in every DHT key, link, checkpoint and metric. `RunConfig` is what a person writes
(TOML); `Manifest` is the resolved form (JSON). The signature travels beside it, not inside, so the digest is of what
was agreed and not of who vouches for it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from swarm import __version__
from swarm.canonical import canonical_bytes, digest
from swarm.errors import ConfigError, IncompatibleError, LinkError
from swarm.run.difference import diff
from swarm.run.portable import why_not_portable, why_not_portable_name
from swarm.run.schema import (
    AveragingSpec,
    DataSpec,
    JoinSpec,
    LanguageStock,
    ModelSpec,
    OptimizerSpec,
    RunConfig,
    SourceSpec,
    TokenizerSpec,
    TrainingSpec,
)
from swarm.trust.identity import SIGNATURE_BYTES, Identity, is_peer_id, verify
from swarm.validation import Strict, parse, parse_json, read_toml, show

__all__ = [
    "MAX_MANIFEST_BYTES",
    "PROTOCOL",
    "AveragingSpec",
    "DataSpec",
    "JoinSpec",
    "LanguageStock",
    "Manifest",
    "ModelSpec",
    "OptimizerSpec",
    "RunConfig",
    "SignedManifest",
    "SourceSpec",
    "TokenizerSpec",
    "TrainingSpec",
    "diff",
    "incompatible",
    "load_config",
    "parse_config",
    "resolve",
]

PROTOCOL = 3
MAX_MANIFEST_BYTES = 1 << 20
PURPOSE = b"bloomswarm manifest 1\n"  # a signature for one purpose is worth nothing for another

Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}$")]


class Manifest(RunConfig):
    """The resolved run. `owner` is the public key's peer id."""

    owner: str
    created: str  # ISO 8601 date, UTC
    version: Version  # lowest compatible bloomswarm version
    protocol: int = Field(default=PROTOCOL, ge=1, lt=2**31)

    @model_validator(mode="after")
    def _means_the_same_everywhere(self) -> Manifest:
        for field, peer_id in [
            ("owner", self.owner),
            *((f"join.anchors[{i}]", a) for i, a in enumerate(self.join.anchors)),
        ]:
            if not is_peer_id(peer_id):
                raise ValueError(f"{field} {show(peer_id)} is not a peer id; `bloomswarm identity show` prints one")
        try:
            plain = date.fromisoformat(self.created).isoformat() == self.created
        except ValueError:
            plain = False
        if not plain:
            raise ValueError(f"created {show(self.created)} is not a date; write it as 2026-01-31")
        for index, source in enumerate(self.data.sources):
            if reason := why_not_portable(source):
                raise ValueError(f"data.sources[{index}]: {reason}; write it relative to the data folder")
        for field, name in [
            ("model.initial_checkpoint", self.model.initial_checkpoint),
            ("tokenizer.source", self.tokenizer.source),
        ]:
            if name is not None and (reason := why_not_portable_name(name)):
                raise ValueError(f"{field}: {reason}; `bloomswarm create` makes a manifest that serves it")
        return self

    def canonical(self) -> bytes:
        """The bytes that are hashed and signed."""
        return canonical_bytes(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """The run's identity: SHA-256 of the canonical bytes, in hex. Not cached: a changed copy must not keep it."""
        return digest(self.canonical())

    def missing(self) -> list[str]:
        """Fields that `create` fills and that are still empty; a signed manifest has none."""
        return [path for path, value in _filled_by_create(self).items() if not value]


class Envelope(Strict):
    """The JSON of a `SignedManifest`."""

    manifest: Manifest
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


@dataclass(frozen=True)
class SignedManifest:
    """A manifest with its owner's signature (64 bytes)."""

    manifest: Manifest
    signature: bytes

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @classmethod
    def sign(cls, manifest: Manifest, owner: Identity) -> SignedManifest:
        """Sign as the owner. ConfigError where the key is not the owner's or the manifest is not resolved."""
        if manifest.owner != owner.peer_id:
            raise ConfigError(
                f"the manifest's owner is {manifest.owner}, this key is {owner.peer_id}; use the owner's key"
            )
        _require_resolved(manifest, "the manifest")
        return cls(manifest, owner.sign(PURPOSE + manifest.canonical()))

    def to_json(self) -> bytes:
        """Readable JSON, the same bytes every time."""
        value = {"manifest": self.manifest.model_dump(mode="json"), "signature": self.signature.hex()}
        return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"

    @classmethod
    def from_json(cls, data: bytes, source: str = "the manifest") -> SignedManifest:
        """Parse and verify. ConfigError: malformed, incomplete or badly signed. IncompatibleError: too new for us."""
        if len(data) > MAX_MANIFEST_BYTES:
            raise ConfigError(
                f"{source}: {len(data)} bytes; {MAX_MANIFEST_BYTES} is the most; get it from the run's seed"
            )
        _refuse_newer(data, source)
        envelope = parse_json(Envelope, data, source)
        manifest, signature = envelope.manifest, bytes.fromhex(envelope.signature)
        _require_resolved(manifest, source)
        assert len(signature) == SIGNATURE_BYTES
        if not verify(manifest.owner, PURPOSE + manifest.canonical(), signature):
            remedy = "it was altered; get it from the run's seed again"
            raise ConfigError(f"{source}: the signature is not that of its owner {manifest.owner}; {remedy}")
        return cls(manifest, signature)

    def expect(self, digest: str) -> SignedManifest:
        """Itself, if it is the run `digest`; LinkError otherwise (a peer gave us another run's manifest)."""
        if self.digest != digest:
            raise LinkError(f"the manifest received is {self.digest}, the link names {digest}; ask for the link again")
        return self


def load_config(path: Path | str) -> RunConfig:
    """Read a hand-written TOML file. ConfigError names the file, the path in it, the value and the remedy."""
    path = Path(path)
    return parse_config(read_toml(path), str(path))


def parse_config(value: dict[str, Any], source: str) -> RunConfig:
    """Plain values, as in a TOML file, as a configuration; `source` begins every error."""
    config = parse(RunConfig, value, source)
    for field, filled in _filled_by_create(config).items():
        if filled:
            raise ConfigError(f"{source}: {field} is filled in by `create`; leave it out")
    return config


def resolve(
    config: RunConfig,
    *,
    owner: str,
    created: str,
    tokenizer_digest: str,
    initial_digest: str,
    stock: dict[str, LanguageStock],
) -> Manifest:
    """The manifest of `config`. Local data paths must be relative already: see `swarm.run.portable.portable`."""
    value = config.model_dump(mode="json")
    value["tokenizer"]["digest"] = tokenizer_digest
    value["model"]["initial_digest"] = initial_digest
    value["data"]["stock"] = {language: held.model_dump(mode="json") for language, held in stock.items()}
    value |= {"owner": owner, "created": created, "version": __version__, "protocol": PROTOCOL}
    return parse(Manifest, value, "the manifest")


def incompatible(here: Manifest, there: Manifest) -> IncompatibleError:
    """The error for a peer of another run: which fields differ, first three."""
    lines = diff(here, there)
    told = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
    return IncompatibleError(
        f"manifest {here.digest[:8]} is not the run's {there.digest[:8]}: {told}; use the run's link"
    )


def _filled_by_create(config: RunConfig) -> dict[str, Any]:
    return {
        "tokenizer.digest": config.tokenizer.digest,
        "model.initial_digest": config.model.initial_digest,
        "data.stock": config.data.stock,
    }


def _require_resolved(manifest: Manifest, source: str) -> None:
    if empty := manifest.missing():
        raise ConfigError(f"{source}: {', '.join(empty)} is not filled in; make the run with `bloomswarm create`")


def _refuse_newer(data: bytes, source: str) -> None:
    """A run of the future has fields that we do not know: say "upgrade" and not "unknown key"."""
    try:
        outer = json.loads(data)
    except (ValueError, RecursionError):
        return  # the parser proper says what is wrong with it
    inner = outer.get("manifest") if isinstance(outer, dict) else None
    if not isinstance(inner, dict):
        return
    version, protocol = inner.get("version"), inner.get("protocol", PROTOCOL)
    if isinstance(version, str) and _numbers(version) > _numbers(__version__):
        needs = f"the run needs bloomswarm {show(version)} or newer"
        raise IncompatibleError(f"{source}: {needs}, this is {__version__}; upgrade")
    if isinstance(protocol, int) and protocol != PROTOCOL:
        change = "upgrade" if protocol > PROTOCOL else "install the version the run was made with"
        raise IncompatibleError(f"{source}: the run speaks protocol {show(protocol)}, this is {PROTOCOL}; {change}")


def _numbers(version: str) -> tuple[int, ...]:
    """(1, 2, 3) of "1.2.3"; empty for what is no version, which the schema then refuses."""
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", version)
    return tuple(map(int, match.groups())) if match else ()
