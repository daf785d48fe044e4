"""Signed, expiring records in hivemind's DHT: place = (run digest/kind, peer id), value = `swarm.records.seal`.

Every peer that stores or reads runs the same validator, so what is not signed by the peer it speaks for, is of
another run, of an unknown kind or too long-lived, is neither kept nor passed on. The kinds are a closed list, so that
what a stranger can store with us is bounded by (kinds x identities), each at most 16 KiB and an hour. Identities cost
nothing, so their number is bounded too; who was known before it was reached goes on being heard.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import msgpack
from hivemind.dht import DHTID, DHTNode
from hivemind.dht.validation import DHTRecord, RecordValidatorBase

from swarm.records import MAX_LIFETIME_SECONDS, PAYLOAD_AT, RecordError, expiration_of, seal, unseal
from swarm.trust.identity import Identity, is_peer_id

KINDS = ("progress", "addresses", "averaging", "checkpoint", "blobs")
MOST_RECORDS = 16_384  # that live at once: 50 MB where all say as much as ours do, at most 256 MB
SWEEP_SECONDS = 1.0  # between two looks for records that have expired, where there are so many
CLOCK_SLACK_SECONDS = 10.0  # of other peers' clocks, and of records that expire while they travel


@dataclass(frozen=True)
class Record:
    """What `peer_id` said. payload: bytes, still to be parsed."""

    peer_id: str
    payload: bytes


class Validator(RecordValidatorBase):
    """Ties the signer to the peer id. `rejected` counts by reason; hivemind asks it on every store and every read."""

    def __init__(self, identity: Identity, run_digest: str, kinds: tuple[str, ...] = KINDS) -> None:
        self._identity = identity
        self._places = {place_id(run_digest, kind): place(run_digest, kind) for kind in kinds}
        self.rejected: Counter[str] = Counter()
        self.live: dict[tuple[str, str], float] = {}  # place -> when what passed expires, Unix seconds
        self.swept = 0.0

    def validate(self, record: DHTRecord) -> bool:
        now = time.time() - CLOCK_SLACK_SECONDS
        try:
            key, peer_id = self._place_of(record)
            _check_times(record)
            payload = unseal(key, peer_id, record.value, now)
            _check_packed(payload)
            self._make_room((key, peer_id), record.expiration_time, now)
        except RecordError as error:
            self.rejected[error.reason] += 1
            return False
        except _MisplacedError as error:
            self.rejected[str(error)] += 1
            return False
        return True

    def _make_room(self, place: tuple[str, str], expiration: float, now: float) -> None:
        """_MisplacedError where too many live already, and none of this place."""
        if place not in self.live and len(self.live) >= MOST_RECORDS:
            if now - self.swept > SWEEP_SECONDS:
                self.live, self.swept = {each: at for each, at in self.live.items() if at > now}, now
            if len(self.live) >= MOST_RECORDS and place[1] != self._identity.peer_id:
                raise _MisplacedError("flood")
        self.live[place] = max(expiration, self.live.get(place, 0.0))

    def sign_value(self, record: DHTRecord) -> bytes:
        key, peer_id = self._place_of(record)
        assert peer_id == self._identity.peer_id, "a peer speaks for itself only"
        return seal(self._identity, key, record.value, record.expiration_time)

    def strip_value(self, record: DHTRecord) -> bytes:
        return record.value[PAYLOAD_AT:]

    def _place_of(self, record: DHTRecord) -> tuple[str, str]:
        key = self._places.get(record.key)
        if key is None:
            raise _MisplacedError("key")
        try:
            subkey = msgpack.unpackb(record.subkey)
        except (ValueError, msgpack.exceptions.UnpackException, RecursionError):
            raise _MisplacedError("subkey") from None
        if not is_peer_id(subkey) or msgpack.packb(subkey) != record.subkey:
            raise _MisplacedError("subkey")
        return key, subkey


class _MisplacedError(Exception):
    """A record under a key or subkey that is not ours: the text is the reason to count."""


class Directory:
    """Publish our record of a kind, read everybody's. Lives in the network's event loop."""

    def __init__(self, node: DHTNode, identity: Identity, run_digest: str, kinds: tuple[str, ...] = KINDS) -> None:
        self._node = node
        self._identity = identity
        self._run_digest = run_digest
        self._kinds = kinds
        self._latest: dict[str, float] = {}  # kind -> expiration of our last record

    async def publish(self, kind: str, payload: bytes, ttl_seconds: float) -> bool:
        """Replace our record of `kind`. False where nobody stored it.

        The DHT keeps the record that expires last, so a new one never expires before the one it replaces.
        """
        assert kind in self._kinds, f"{kind} is not in KINDS"
        assert 0 < ttl_seconds <= MAX_LIFETIME_SECONDS - 3 * CLOCK_SLACK_SECONDS
        expiration = max(time.time() + ttl_seconds, self._latest.get(kind, 0.0) + 0.001)
        self._latest[kind] = expiration
        key = place(self._run_digest, kind)
        return bool(await self._node.store(key, payload, expiration, subkey=self._identity.peer_id))

    async def read(self, kind: str) -> list[Record]:
        """Everybody's live records of `kind`, by peer id."""
        assert kind in self._kinds, f"{kind} is not in KINDS"
        found = await self._node.get(place(self._run_digest, kind), latest=True)
        if found is None or not isinstance(found.value, dict):
            return []
        now = time.time()
        return [
            Record(peer_id, held.value)
            for peer_id, held in sorted(found.value.items())
            if held.expiration_time > now and isinstance(held.value, bytes)
        ]


def place(run_digest: str, kind: str) -> str:
    """The DHT key of a kind."""
    return f"{run_digest}/{kind}"


def place_id(run_digest: str, kind: str) -> bytes:
    """The DHT's hash of that key: all that a validator gets to see."""
    return bytes(DHTID.generate(place(run_digest, kind)).to_bytes())


def _check_packed(payload: bytes) -> None:
    """hivemind unpacks every value it read, and one that is not msgpack would spoil the reading of all the others."""
    try:
        packed = isinstance(msgpack.unpackb(payload), bytes)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError):
        packed = False
    if not packed:
        raise RecordError("payload", "not packed bytes")


def _check_times(record: DHTRecord) -> None:
    """The expiration that the DHT goes by must be the signed one, else a record could be made to live on."""
    if expiration_of(record.value) != record.expiration_time:
        raise RecordError("lifetime", "not the signed one")
