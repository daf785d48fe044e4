"""An endorsement: the word of the run's owner, or of an anchor that the manifest names, for one state of the run.

It lets a peer begin at that state instead of at step 0: where a run has died, or its log has become long. It names the
root, which pins every byte of the state, and the position in the log, from which rounds are followed.

    {"format", "run", "step", "root", "position", "signer", "signature"}     canonical JSON; digests and bytes in hex
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from swarm.averaging.live.positions import MAX_POSITION_BYTES, position_from_bytes, position_to_bytes
from swarm.averaging.round.certificate import Position
from swarm.canonical import canonical_bytes
from swarm.errors import CheckpointError, ConfigError, IdentityError
from swarm.run.manifest import Manifest
from swarm.run.schema import Sha256
from swarm.trust.identity import SIGNATURE_BYTES, Identity, friendly_name, verify
from swarm.validation import Strict, parse_json

PURPOSE = b"bloomswarm endorsement 1\n"
MAX_BYTES = 2 * MAX_POSITION_BYTES + 4096


class Endorsement(Strict):
    """Checked by `read_endorsement` before it is believed."""

    format: Literal["bloomswarm-endorsement-1"] = "bloomswarm-endorsement-1"
    run: Sha256
    step: int = Field(ge=0, lt=2**53)
    root: Sha256  # `SharedState.digest`
    position: str = Field(max_length=2 * MAX_POSITION_BYTES, pattern=r"^([0-9a-f]{2})+$")
    signer: str = Field(max_length=128)
    signature: str = Field(default="", pattern=rf"^([0-9a-f]{{{2 * SIGNATURE_BYTES}}})?$")

    def to_bytes(self) -> bytes:
        return canonical_bytes(self.model_dump(mode="json"))

    def signed_bytes(self) -> bytes:
        return PURPOSE + canonical_bytes(self.model_dump(mode="json", exclude={"signature"}))

    def at(self) -> Position:
        """Where in the log its state is."""
        return position_from_bytes(bytes.fromhex(self.position))


def endorse(manifest: Manifest, identity: Identity, *, root: str, position: Position) -> Endorsement:
    """IdentityError where this key's word counts for nothing in the run."""
    if identity.peer_id not in anchors_of(manifest):
        raise IdentityError(
            f"{identity.name} is neither the owner of {manifest.name} nor one of its anchors; "
            f"sign with the key of {friendly_name(manifest.owner)} (owner.pem of the run's folder)"
        )
    made = Endorsement(
        run=manifest.digest,
        step=position.round,
        root=root,
        position=position_to_bytes(position).hex(),
        signer=identity.peer_id,
    )
    return made.model_copy(update={"signature": identity.sign(made.signed_bytes()).hex()})


def read_endorsement(data: bytes, manifest: Manifest, source: str) -> Endorsement:
    """CheckpointError in one line for anything but an endorsement of this run by its owner or an anchor."""
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{source}: {len(data)} bytes, an endorsement has at most {MAX_BYTES}")
    try:
        found = parse_json(Endorsement, data, source)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    if found.run != manifest.digest:
        raise CheckpointError(f"{source}: it is of the run {found.run[:16]}, not of {manifest.digest[:16]}")
    if found.signer not in anchors_of(manifest):
        raise CheckpointError(f"{source}: its signer {found.signer[:60]!r} is neither the run's owner nor an anchor")
    if not verify(found.signer, found.signed_bytes(), bytes.fromhex(found.signature)):
        raise CheckpointError(f"{source}: its signature is not that of {friendly_name(found.signer)}; it was altered")
    position = found.at()
    if position.round != found.step or position.run.hex() != found.run:
        raise CheckpointError(f"{source}: its position in the log is another one than its step {found.step}")
    return found


def anchors_of(manifest: Manifest) -> frozenset[str]:
    """Peer ids whose word for a state is enough."""
    return frozenset((manifest.owner, *manifest.join.anchors))
