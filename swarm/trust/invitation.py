"""Invitations and revocations: who may take part in a run that is not open. Statements of the run's owner, signed.

    invitation     not after (8, Unix seconds) | serial (8) | signature (64)             80 bytes, for one peer
    revocations    serial (8) | count (2) | count x (public key (32) | serial (8)) | signature (64)

All big-endian. What is signed begins with a purpose and the run's digest; an invitation's also has the public key of
the peer that it is for. A serial is the owner's clock when it was signed, or one more than the last: the newest counts.
A revocation names the serial up to which a peer's invitations are void, so that the peer can be invited again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from swarm.trust.identity import SIGNATURE_BYTES, Identity, verify
from swarm.trust.peer_id import public_key_of

TIMES = struct.Struct(">QQ")  # not after, serial
LIST, ENTRY = struct.Struct(">QH"), struct.Struct(">32sQ")
INVITATION_BYTES = TIMES.size + SIGNATURE_BYTES
MAX_REVOKED = 256
MAX_REVOCATIONS_BYTES = LIST.size + MAX_REVOKED * ENTRY.size + SIGNATURE_BYTES
LATEST = 2**40  # Unix seconds, and serials
INVITE, REVOKE = b"bloomswarm invitation 1\n", b"bloomswarm revocations 1\n"


@dataclass(frozen=True)
class Invitation:
    """Good until `not_after` (Unix seconds). Believe none that `read_invitation` has not checked."""

    not_after: int
    serial: int
    signature: bytes

    def to_bytes(self) -> bytes:
        return TIMES.pack(self.not_after, self.serial) + self.signature


@dataclass(frozen=True)
class Revocations:
    """Of `voided`, by public key: the highest serial that is void. `data` is the list as it travels."""

    serial: int = 0
    voided: Mapping[bytes, int] = field(default_factory=dict)
    data: bytes = b""

    def void(self, peer_id: str, serial: int) -> bool:
        key = public_key_of(peer_id)
        return key is not None and serial <= self.voided.get(key, -1)


def invite(owner: Identity, run_digest: str, peer_id: str, *, not_after: int, serial: int) -> Invitation:
    key = public_key_of(peer_id)
    assert key is not None, "a peer id with an Ed25519 key"
    assert 0 <= not_after < LATEST
    assert 0 <= serial < LATEST
    return Invitation(not_after, serial, owner.sign(_invited(run_digest, key, not_after, serial)))


def read_invitation(data: bytes, run_digest: str, owner: str, peer_id: str) -> Invitation | None:
    """The owner's invitation of this peer to this run; None for anything else."""
    key = public_key_of(peer_id)
    if key is None or len(data) != INVITATION_BYTES:
        return None
    not_after, serial = TIMES.unpack_from(data)
    signature = bytes(data[TIMES.size :])
    if max(not_after, serial) >= LATEST or not verify(owner, _invited(run_digest, key, not_after, serial), signature):
        return None
    return Invitation(not_after, serial, signature)


def revoke(owner: Identity, run_digest: str, voided: Mapping[bytes, int], serial: int) -> Revocations:
    """The whole list anew."""
    assert len(voided) <= MAX_REVOKED, "the caller has said so already"
    body = LIST.pack(serial, len(voided)) + b"".join(ENTRY.pack(key, upto) for key, upto in sorted(voided.items()))
    return Revocations(serial, dict(voided), body + owner.sign(REVOKE + bytes.fromhex(run_digest) + body))


def read_revocations(data: bytes, run_digest: str, owner: str) -> Revocations | None:
    """The owner's list for this run, in its one form; None for anything else."""
    if not LIST.size + SIGNATURE_BYTES <= len(data) <= MAX_REVOCATIONS_BYTES:
        return None
    serial, count = LIST.unpack_from(data)
    body, signature = bytes(data[:-SIGNATURE_BYTES]), bytes(data[-SIGNATURE_BYTES:])
    if count > MAX_REVOKED or len(body) != LIST.size + count * ENTRY.size or serial >= LATEST:
        return None
    entries = [ENTRY.unpack_from(body, LIST.size + at * ENTRY.size) for at in range(count)]
    keys = [key for key, _ in entries]
    if keys != sorted(set(keys)) or not verify(owner, REVOKE + bytes.fromhex(run_digest) + body, signature):
        return None
    return Revocations(serial, dict(entries), bytes(data))


def _invited(run_digest: str, key: bytes, not_after: int, serial: int) -> bytes:
    return INVITE + bytes.fromhex(run_digest) + key + TIMES.pack(not_after, serial)
