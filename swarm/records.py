"""Records in the DHT: small, signed by the peer they speak for, and expiring.

hivemind's own record signatures are RSA keys bound to nothing; here the signer is the peer id in the record's place
(its subkey), so nobody can speak for somebody else, and a record copied under another key or run is worthless.

    value = version (1 byte) | expiration (8 bytes, big-endian double, Unix seconds) | signature (64) | payload
"""

from __future__ import annotations

import math
import struct
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from swarm.canonical import canonical_bytes
from swarm.run.schema import Language
from swarm.trust.identity import SIGNATURE_BYTES, Identity, verify
from swarm.validation import Strict

MAX_RECORD_BYTES = 16_384
MAX_LIFETIME_SECONDS = 3600.0
VERSION = b"\x01"
PURPOSE = b"bloomswarm record 1\n"
HEADER = struct.Struct(">d")
PAYLOAD_AT = len(VERSION) + HEADER.size + SIGNATURE_BYTES
MAX_PAYLOAD_BYTES = MAX_RECORD_BYTES - PAYLOAD_AT - 64  # msgpack's header of the bytes fits too

Reason = Literal["size", "version", "expired", "lifetime", "signature", "payload"]
State = Literal[
    "alone", "assembling", "waiting", "training", "averaging", "downloading", "lagging", "paused", "leaving",
    "finished", "serving",
]  # fmt: skip
Role = Literal["trainer", "seed", "assistant", "archive", "monitor"]
Count = Annotated[int, Field(ge=0, lt=2**53)]
UnixTime = Annotated[float, Field(ge=0, lt=2**40)]
Prefix = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]  # of a digest: to compare, never to trust
Loss = Annotated[float, Field(ge=0, le=1e4)]  # nats per token
BitsPerByte = Annotated[float, Field(ge=0, le=1e4)]
EnergySource = Literal["gpu", "cpu", "memory", "machine"]  # measured, all but the last, which is an estimate
Joules = Annotated[float, Field(ge=0, le=1e18)]
Outcome = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,20}$")]  # "committed", or why a round was missed


class RecordError(Exception):
    """A record from the DHT is not to be used. `reason` is one of a few words, fit to be a metric's label.

    Not a SwarmError: strangers cause it, nobody here can act on it, and it is counted and not shown.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: Reason = reason


class ProgressRecord(Strict):
    """What a peer says about itself: a hint for calling rounds and for people, never proof of anything."""

    step: Count  # the swarm's step that this peer has reached
    samples: Count = 0  # accumulated towards the next step
    total_samples: Count = 0  # contributed since it joined
    loss: float | None = Field(default=None, ge=0, le=1e4)  # nats per token
    samples_per_second: float = Field(default=0.0, ge=0, le=1e9)
    tokens_by_language: dict[Language, Count] = Field(default_factory=dict, max_length=256)
    state: State
    role: Role
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,32}$")]
    addresses: tuple[Annotated[str, StringConstraints(pattern=r"^/[!-~]{1,299}$")], ...] = Field(
        default=(), max_length=8
    )
    clock: UnixTime | None = None  # this peer's clock when it wrote this
    started: UnixTime | None = None
    lineage: Prefix | None = None  # where its log began: genesis, or the last fork
    head: Prefix | None = None  # of its log, after `step`
    state_digest: Prefix | None = None  # of the shared state at `digest_step`
    digest_step: Count | None = None
    rounds: dict[Outcome, Count] = Field(default_factory=dict, max_length=32)  # since it started
    round_seconds: float | None = Field(default=None, ge=0, le=1e7)  # the last round
    round_peers: Count | None = None  # its roster
    loss_by_language: dict[Language, Loss] = Field(default_factory=dict, max_length=256)  # of the last contribution
    validation_by_language: dict[Language, BitsPerByte] = Field(default_factory=dict, max_length=256)  # held-out text
    validation_step: Count | None = None  # of the shared state that it is of
    validation_text: Prefix | None = None  # digest of the text: figures on other text do not compare
    checkpoint_step: Count | None = None
    checkpoint_time: UnixTime | None = None
    checkpoint_failed: bool = False  # the last attempt to write one
    disk_free_bytes: Count | None = None
    memory_bytes: Count | None = None
    sent_bytes: Count = 0
    received_bytes: Count = 0
    energy_joules: dict[EnergySource, Joules] = Field(default_factory=dict)
    carbon_grams: float = Field(default=0.0, ge=0, le=1e18)  # at the grid intensity that it set
    rejected: Count = 0  # what it refused of others
    amendments: Count = 0  # that it knows; whoever knows fewer asks it
    private: bool = False  # trains on text of its own, which nobody else has
    invitation: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{160}$")] | None = None  # of a run that is not open
    revocations: Count = 0  # serial of the newest list that it knows

    def to_bytes(self) -> bytes:
        """At most MAX_PAYLOAD_BYTES: with very many languages losses by language are left out first."""
        record = self
        for optional in ("loss_by_language", "validation_by_language", "tokens_by_language", "addresses"):
            data = canonical_bytes(record.model_dump(mode="json", exclude_defaults=True))
            if len(data) <= MAX_PAYLOAD_BYTES:
                break
            record = record.model_copy(update={optional: type(getattr(record, optional))()})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> ProgressRecord:
        """Raises RecordError("payload") for anything malformed or out of bounds."""
        if len(data) > MAX_RECORD_BYTES:
            raise RecordError("size", f"{len(data)} bytes")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise RecordError("payload", f"{error.error_count()} invalid fields") from None


def seal(identity: Identity, key: str, payload: bytes, expiration: float) -> bytes:
    """`payload` signed for the DHT place (`key`, our peer id) until `expiration` (Unix seconds).

    `key` begins with the run's digest. A payload that is too large is our own bug.
    """
    assert len(payload) + PAYLOAD_AT <= MAX_RECORD_BYTES, f"payload of {len(payload)} bytes"
    assert math.isfinite(expiration)
    signature = identity.sign(_signed(key, identity.peer_id, expiration, payload))
    return VERSION + HEADER.pack(expiration) + signature + payload


def unseal(key: str, peer_id: str, value: bytes, now: float) -> bytes:
    """The payload that `peer_id` put under `key`. RecordError: too large, of another form, expired, forged."""
    expiration = expiration_of(value)
    if expiration <= now:
        raise RecordError("expired", f"{now - expiration:.0f} s ago")
    if expiration > now + MAX_LIFETIME_SECONDS:
        raise RecordError("lifetime", f"{expiration - now:.0f} s; {MAX_LIFETIME_SECONDS:.0f} is the most")
    signature, payload = value[PAYLOAD_AT - SIGNATURE_BYTES : PAYLOAD_AT], value[PAYLOAD_AT:]
    if not verify(peer_id, _signed(key, peer_id, expiration, payload), signature):
        raise RecordError("signature", "not by the peer it speaks for")
    return payload


def expiration_of(value: bytes) -> float:
    """The expiration that a sealed value claims (Unix seconds), before its signature is checked. RecordError."""
    if not isinstance(value, bytes) or not PAYLOAD_AT <= len(value) <= MAX_RECORD_BYTES:
        raise RecordError("size")
    if not value.startswith(VERSION):
        raise RecordError("version", f"{value[0]}")
    expiration = float(HEADER.unpack_from(value, len(VERSION))[0])
    if not math.isfinite(expiration):
        raise RecordError("lifetime", "not a finite time")
    return expiration


def _signed(key: str, peer_id: str, expiration: float, payload: bytes) -> bytes:
    """Every part with its length in front, so that no two records share their signed bytes."""
    parts = [
        key.encode("utf-8", "surrogatepass"),
        str(peer_id).encode("utf-8", "surrogatepass"),
        HEADER.pack(expiration),
    ]
    return PURPOSE + b"".join(struct.pack(">I", len(part)) + part for part in [*parts, payload])
