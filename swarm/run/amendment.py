"""Amendments: the owner changes a running run, in the few fields that may change, from a stated step on.

The run's identity stays the digest of its first manifest. An amendment holds a whole new version of the manifest, the
step from which it counts, and the digest of the version before it; all of it is signed by the owner. So the versions
form one chain, whoever passes it on. What may change is the text and its mixture, the length of the schedule, and the
batch: nothing that a peer's vectors, rounds or trust depend on. Everything else is a new run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from swarm.canonical import canonical_bytes, digest
from swarm.errors import ConfigError
from swarm.run.difference import diff
from swarm.run.manifest import MAX_MANIFEST_BYTES, Manifest
from swarm.run.schema import RunConfig, Sha256
from swarm.trust.identity import SIGNATURE_BYTES, Identity, verify
from swarm.validation import Strict, parse, parse_json

PURPOSE = b"bloomswarm amendment 1\n"
MAX_BYTES = MAX_MANIFEST_BYTES + 4096
MOST = 64  # in one run
CHANGEABLE = ("steps", "global_batch")  # of [training]; and all of [data]


class Amendment(Strict):
    """One version. `before`: digest of the manifest, or of the amendment, that it follows."""

    format: Literal["bloomswarm-amendment-1"] = "bloomswarm-amendment-1"
    run: Sha256
    number: int = Field(ge=1, le=MOST)
    before: Sha256
    at_step: int = Field(ge=1, lt=2**53)  # the first step that is computed by it
    manifest: Manifest
    signature: str = Field(default="", pattern=rf"^([0-9a-f]{{{2 * SIGNATURE_BYTES}}})?$")

    def to_bytes(self) -> bytes:
        return canonical_bytes(self.model_dump(mode="json"))

    def signed_bytes(self) -> bytes:
        return PURPOSE + canonical_bytes(self.model_dump(mode="json", exclude={"signature"}))

    @property
    def digest(self) -> str:
        """Of all but the signature: what was agreed, not who vouches for it."""
        return digest(self.signed_bytes())


Chain = tuple[Amendment, ...]


def amend(first: Manifest, chain: Chain, manifest: Manifest, at_step: int, owner: Identity) -> Amendment:
    """The next version, signed. ConfigError where it may not be."""
    made = Amendment(
        run=first.digest,
        number=len(chain) + 1,
        before=chain[-1].digest if chain else first.digest,
        at_step=at_step,
        manifest=manifest,
    )
    signed = made.model_copy(update={"signature": owner.sign(made.signed_bytes()).hex()})
    check(first, (*chain, signed), "the amendment")
    return signed


def with_changes(manifest: Manifest, config: RunConfig, stock: dict[str, Any]) -> Manifest:
    """`manifest` with the changeable fields of `config`. ConfigError naming what else differs.

    config: as written, with data paths made relative. stock: of its data.
    """
    value = manifest.model_dump(mode="json")
    wanted = config.model_dump(mode="json")
    changed = {**wanted["data"], "stock": {code: held.model_dump(mode="json") for code, held in stock.items()}}
    kept = {**value["training"], **{name: wanted["training"][name] for name in CHANGEABLE}}
    made = parse(Manifest, value | {"data": changed, "training": kept}, "the amendment")
    created = {name: value[name] for name in ("owner", "created", "version", "protocol")}
    filled = {**wanted, **created, "data": changed, "tokenizer": value["tokenizer"]}
    filled["model"] = {**wanted["model"], **{k: value["model"][k] for k in ("initial_digest", "initial_checkpoint")}}
    if other := diff(parse(Manifest, filled, "the configuration"), made):
        raise ConfigError(
            f"only text, mixture, length and batch of a running run can change, and the configuration differs in: "
            f"{'; '.join(other[:3])}; make those as they were, or create a new run"
        )
    return made


def read_chain(data: Sequence[bytes], first: Manifest, source: str) -> Chain:
    """ConfigError in one line for everything but versions of this run, in order, signed by its owner."""
    if len(data) > MOST:
        raise ConfigError(f"{source}: {len(data)} amendments, a run has at most {MOST}")
    if (longest := max(map(len, data), default=0)) > MAX_BYTES:
        raise ConfigError(f"{source}: an amendment of {longest} bytes, {MAX_BYTES} is the most")
    chain = tuple(parse_json(Amendment, bytes(each), source) for each in data)
    check(first, chain, source)
    return chain


def check(first: Manifest, chain: Chain, source: str) -> None:
    """ConfigError unless each follows the one before, changes only what may change, and is signed by the owner."""
    before, at, version = first.digest, 0, first
    for number, each in enumerate(chain, start=1):
        where = f"{source}: amendment {number}"
        if (each.run, each.number, each.before) != (first.digest, number, before):
            raise ConfigError(f"{where} does not follow the version before it; ask another peer for it")
        if not verify(first.owner, each.signed_bytes(), bytes.fromhex(each.signature)):
            raise ConfigError(f"{where} is not signed by the run's owner; ask another peer for it")
        if each.at_step <= at:
            raise ConfigError(
                f"{where} counts from step {each.at_step}, and the one before from {at}; take a later step"
            )
        if each.manifest.training.steps <= each.at_step:
            steps = each.manifest.training.steps
            raise ConfigError(f"{where} ends the run at step {steps}, before it counts (step {each.at_step})")
        if fixed(each.manifest) != fixed(version):
            raise ConfigError(f"{where} changes what may not change; only text, mixture, length and batch may")
        if gone := sorted(set(version.data.stock) - set(each.manifest.data.stock)):
            raise ConfigError(f"{where} takes {', '.join(gone)} away; languages can only be added: lower their weight")
        before, at, version = each.digest, each.at_step, each.manifest


def fixed(manifest: Manifest) -> dict[str, Any]:
    """What every version has in common."""
    value = manifest.model_dump(mode="json", exclude={"data"})
    value["training"] = {name: held for name, held in value["training"].items() if name not in CHANGEABLE}
    return value


def version_at(first: Manifest, chain: Chain, step: int) -> Manifest:
    """The one that counts for the step from `step` to `step + 1`."""
    return next((each.manifest for each in reversed(chain) if each.at_step <= step), first)
