"""A peer id: the public key itself in libp2p's text form, so that a signature can be checked with nothing but the id.

For Ed25519 the id is the identity multihash of the protobuf-encoded public key, in base58
(https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md): always "12D3KooW" and 44 more characters.
"""

from __future__ import annotations

import hashlib

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
VALUES = {character: value for value, character in enumerate(ALPHABET)}
KEY_BYTES = 32
PUBLIC_PREFIX = bytes.fromhex("08011220")  # protobuf PublicKey: type Ed25519, then 32 bytes of key
MULTIHASH_PREFIX = bytes([0x00, len(PUBLIC_PREFIX) + KEY_BYTES])  # identity hash, its length
MAX_TEXT = 64


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = _words(
    "able agile amber azure bold brave bright brisk calm candid clear clever copper coral cosmic crisp dapper daring "
    "deft eager early fair fleet fond free fresh gentle glad golden grand happy hardy honest humble ivory jade jolly "
    "keen kind lively loyal lucid lunar mellow merry mighty neat noble olive patient plucky polite proud quick quiet "
    "ready rosy ruby silver solar steady sunny swift wise"
)
ANIMALS = _words(
    "ant badger bat bear bee bison bream camel crane crow deer dingo dove duck eagle egret eland falcon fennec finch "
    "fox gecko goose hare hawk heron ibex ibis jackal jay kite koala lark lemur linnet lion lynx macaw marten mole "
    "moose newt okapi oriole osprey otter owl panda pika puffin quail raven robin seal shrew sloth stork swan tapir "
    "tern toad viper vole wren"
)


def peer_id_of(public_key: bytes) -> str:
    """The peer id of a raw Ed25519 public key (32 bytes)."""
    assert len(public_key) == KEY_BYTES
    return _base58(MULTIHASH_PREFIX + PUBLIC_PREFIX + public_key)


def public_key_of(peer_id: str) -> bytes | None:
    """The raw public key (32 bytes) inside an Ed25519 peer id, or None where it is not one. Never raises."""
    if not isinstance(peer_id, str) or not 0 < len(peer_id) <= MAX_TEXT:
        return None
    number = 0
    for character in peer_id:
        if character not in VALUES:
            return None
        number = number * 58 + VALUES[character]
    prefix = MULTIHASH_PREFIX + PUBLIC_PREFIX
    size = len(prefix) + KEY_BYTES
    if number.bit_length() > size * 8:
        return None
    decoded = number.to_bytes(size, "big")
    if not decoded.startswith(prefix) or _base58(decoded) != peer_id:  # one key, one spelling
        return None
    return decoded[len(prefix) :]


def is_peer_id(text: str) -> bool:
    """Whether `text` is a well-formed Ed25519 peer id (not whether such a peer exists)."""
    return public_key_of(text) is not None


def friendly_name(peer_id: str) -> str:
    """A name to say aloud, "brave-otter-4f", from the digest of the id. One of 2^20: convenient, never an identity."""
    number = int.from_bytes(hashlib.sha256(peer_id.encode("utf-8", "replace")).digest()[:8], "big")
    adjective, number = ADJECTIVES[number % len(ADJECTIVES)], number // len(ADJECTIVES)
    animal, number = ANIMALS[number % len(ANIMALS)], number // len(ANIMALS)
    return f"{adjective}-{animal}-{number % 256:02x}"


def _base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text
