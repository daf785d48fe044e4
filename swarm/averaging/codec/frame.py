"""A frame: one span's encoded values with a header that is checked before any memory is taken.

Little-endian, 24 bytes and the body:

    0   3   "BSF"
    3   1   version of the frame format, 2
    4   4   the codec: first 4 bytes of the SHA-256 of its label, for example of "int8-block@1"
    8   4   values in the span, unsigned, at most 2^24
    12  8   bytes of the body, unsigned
    20  4   checksum of bytes 0 to 20 and the body, see `checksum`
    24  ..  body: the pieces, one after another

The reader knows codec and size from the manifest, so the header can only agree or be refused. It has 24 bytes so that
the body's words begin at multiples of 8.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from swarm.averaging.codec.base import PIECE, Codec
from swarm.averaging.codec.checksum import checksum
from swarm.averaging.codec.errors import CodecError

MAGIC = b"BSF\x02"
HEADER_BYTES = 24
MAX_VALUES = 2**24
_HEADER = struct.Struct("<4s4sIQ")
_SUM = struct.Struct("<I")


@dataclass(frozen=True)
class Header:
    """The header of a frame, not yet believed. codec_id: see `codec_id`."""

    codec_id: bytes
    size: int
    body_bytes: int
    checksum: int


def codec_id(codec: Codec) -> bytes:
    """The 4 bytes that stand for a codec in a frame."""
    return _id_of(codec.label)


@lru_cache(maxsize=64)
def _id_of(label: str) -> bytes:
    return hashlib.sha256(label.encode("ascii")).digest()[:4]


def body_bytes(codec: Codec, size: int) -> int:
    """Bytes of the body of a frame of `size` values."""
    whole, rest = divmod(size, PIECE)
    return whole * codec.wire_bytes(PIECE) + (codec.wire_bytes(rest) if rest else 0)


def frame_bytes(codec: Codec, size: int) -> int:
    """Bytes of a frame of `size` values: what goes over the wire for a span, whatever the values are."""
    return HEADER_BYTES + body_bytes(codec, size)


def read_header(frame: bytes | memoryview) -> Header:
    """The header, with its limits checked; the body is not looked at. CodecError otherwise."""
    if len(frame) < HEADER_BYTES:
        raise CodecError(f"frame of {len(frame)} bytes, a header alone has {HEADER_BYTES}; it was cut off")
    magic, codec, size, length = _HEADER.unpack_from(frame)
    if magic[:3] != MAGIC[:3]:
        raise CodecError("not a frame: it does not begin with BSF; the sender is not of this run")
    if magic != MAGIC:
        raise CodecError(f"frame format {magic[3]}, this version reads {MAGIC[3]}; upgrade")
    if size > MAX_VALUES or length != len(frame) - HEADER_BYTES:
        raise CodecError(f"frame says {size} values in {length} bytes and has {len(frame) - HEADER_BYTES}; refused")
    return Header(codec, size, length, _SUM.unpack_from(frame, _HEADER.size)[0])


def new_frame(codec: Codec, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory for a frame of `size` values, (frame_bytes,) uint8, and its body, a view of it."""
    if size > MAX_VALUES:
        raise CodecError(f"a span of {size} values; a frame holds at most {MAX_VALUES}: use a smaller span_size")
    frame = np.empty(frame_bytes(codec, size), np.uint8)
    return frame, frame[HEADER_BYTES:]


def seal(codec: Codec, size: int, frame: np.ndarray) -> memoryview:
    """The finished frame, not copied: header and checksum around the body that was written into it."""
    head = _HEADER.pack(MAGIC, codec_id(codec), size, len(frame) - HEADER_BYTES)
    frame[: _HEADER.size] = np.frombuffer(head, np.uint8)
    total = checksum(head, frame[HEADER_BYTES:])
    frame[_HEADER.size : HEADER_BYTES] = np.frombuffer(_SUM.pack(total), np.uint8)
    return frame.data.toreadonly()


def open_frame(codec: Codec, size: int, frame: bytes | memoryview) -> np.ndarray:
    """The body, (body_bytes,) uint8, a read-only view, of a frame that must be of `codec` and hold `size` values.

    CodecError for anything else. Takes no memory that grows with the frame.
    """
    header = read_header(frame)
    body = _body(codec, size, frame, header)
    if checksum(memoryview(frame)[: _HEADER.size], body) != header.checksum:
        raise CodecError("frame with a wrong checksum: it was damaged on the way; ask for it again")
    return body


def body_of(codec: Codec, size: int, frame: bytes | memoryview) -> np.ndarray:
    """`open_frame` for bytes that were checked when they came: all but the checksum."""
    return _body(codec, size, frame, read_header(frame))


def _body(codec: Codec, size: int, frame: bytes | memoryview, header: Header) -> np.ndarray:
    if header.codec_id != codec_id(codec):
        raise CodecError(f"frame of codec {header.codec_id.hex()}, the run's is {codec.label}; the sender is off")
    if header.size != size or header.body_bytes != body_bytes(codec, size):
        raise CodecError(f"frame of {header.size} values in {header.body_bytes} bytes, the span has {size}; refused")
    return np.frombuffer(frame, np.uint8, offset=HEADER_BYTES)
