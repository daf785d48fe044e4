"""The frame: what it looks like, what is refused, and that refusing takes no memory."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from swarm.averaging.codec import CODECS, MAX_VALUES, Codec, CodecError, codec_named, decode, encode, read_header
from swarm.averaging.codec.checksum import checksum
from swarm.averaging.codec.frame import HEADER_BYTES, seal

INT8 = codec_named("int8-block@1")
SIZE = 1000


def frame_of(codec: Codec = INT8, size: int = SIZE) -> bytes:
    return encode(codec, np.random.default_rng(size).standard_normal(size, dtype=np.float32))


def with_header(frame: bytes, offset: int, value: bytes) -> bytes:
    """The frame with other bytes in its header and a checksum that fits them: what a liar would send."""
    changed = bytearray(frame)
    changed[offset : offset + len(value)] = value
    changed[20:24] = struct.pack("<I", checksum(bytes(changed[:20]), np.frombuffer(changed, np.uint8, offset=24)))
    return bytes(changed)


def test_the_header_is_as_documented() -> None:
    frame = frame_of()
    assert frame[:4] == b"BSF\x02"
    assert frame[4:8] == hashlib.sha256(b"int8-block@1").digest()[:4]
    assert struct.unpack_from("<IQ", frame, 8) == (SIZE, len(frame) - 24)
    assert len(frame) == 24 + 2 * 4 + SIZE  # four blocks' scales and the codes
    scale = np.frombuffer(frame, "<u2", 1, offset=24).astype(np.uint32) << 16
    values = np.random.default_rng(SIZE).standard_normal(SIZE, dtype=np.float32)
    assert abs(scale.view(np.float32)[0] * 127 / np.abs(values[:256]).max() - 1) < 2**-7
    codes = np.frombuffer(frame, np.int8, 256, offset=32)
    assert (
        np.abs(codes.astype(float) * scale.view(np.float32)[0] - values[:256]).max()
        <= 0.502 * scale.view(np.float32)[0]
    )
    header = read_header(frame)
    assert (header.size, header.body_bytes) == (SIZE, len(frame) - 24)


REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda f: b"", "frame of 0 bytes"),
    "half a header": (lambda f: f[:11], "frame of 11 bytes, a header alone has 24"),
    "something else": (lambda f: with_header(f, 0, b"GIF8"), "does not begin with BSF"),
    "a newer format": (lambda f: with_header(f, 3, b"\x03"), "frame format 3, this version reads 2; upgrade"),
    "another codec": (lambda f: frame_of(codec_named("none@1")), "the run's is int8-block@1"),
    "fewer values": (lambda f: frame_of(size=SIZE - 1), "frame of 999 values"),
    "more values": (lambda f: frame_of(size=SIZE + 256), "frame of 1256 values"),
    "a length that lies": (lambda f: with_header(f, 12, b"\xff" * 8), "refused"),
    "a size beyond the limit": (lambda f: with_header(f, 8, b"\xff\xff\xff\xff"), "refused"),
    "a size that its bytes do not have": (lambda f: with_header(f, 8, struct.pack("<I", SIZE - 1)), "refused"),
    "cut off": (lambda f: f[:-1], "refused"),
    "something behind it": (lambda f: f + b"\x00", "refused"),
    "a flipped bit": (lambda f: f[:500] + bytes([f[500] ^ 4]) + f[501:], "wrong checksum"),
    "a scale of zero": (lambda f: with_header(f, 24, b"\x00\x00"), "a scale is not a normal number"),
    "an infinite scale": (lambda f: with_header(f, 24, b"\x80\x7f"), "a scale is not a normal number"),
    "a negative scale": (lambda f: with_header(f, 24, b"\x80\xbf"), "a scale is not a normal number"),
    "a code of -128": (lambda f: with_header(f, 900, b"\x80"), "a code is -128"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    change, words = REFUSED[name]
    with pytest.raises(CodecError, match=words):
        decode(INT8, change(frame_of()), SIZE)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
def test_every_single_damaged_byte_is_found(codec: Codec) -> None:
    frame = frame_of(codec, 300)
    for place in range(len(frame)):
        for bits in (1, 128, 255):
            damaged = frame[:place] + bytes([frame[place] ^ bits]) + frame[place + 1 :]
            with pytest.raises(CodecError):
                decode(codec, damaged, 300)


def test_parts_that_change_places_are_found() -> None:
    size = 2**18
    frame = frame_of(size=size)
    for length in (8, 256, 4096, 2**16):
        start = HEADER_BYTES + 2 * (size // 256)
        first, second = frame[start : start + length], frame[start + length : start + 2 * length]
        swapped = frame[:start] + second + first + frame[start + 2 * length :]
        assert swapped != frame
        with pytest.raises(CodecError, match="wrong checksum"):
            decode(INT8, swapped, size)


def test_refusing_takes_no_memory() -> None:
    """A header that promises 16 million values and brings 1,000 must not cost 64 MB."""
    lies = with_header(frame_of(), 8, struct.pack("<I", MAX_VALUES))
    damaged = bytearray(frame_of(size=2**20))
    damaged[-1] ^= 1
    tracemalloc.start()
    try:
        for frame, size in ((lies, MAX_VALUES), (lies, SIZE), (bytes(damaged[:40]), 2**20)):
            with pytest.raises(CodecError):
                decode(INT8, frame, size)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        view = memoryview(damaged)
        with pytest.raises(CodecError, match="checksum"):
            decode(INT8, view, 2**20)
        assert tracemalloc.get_traced_memory()[1] - before < 200_000
    finally:
        tracemalloc.stop()


def test_a_span_too_large_for_a_frame_is_refused_when_encoding() -> None:
    with pytest.raises(CodecError, match=f"at most {MAX_VALUES}: use a smaller span_size"):
        encode(INT8, np.broadcast_to(np.float32(0), MAX_VALUES + 1))


def test_the_checksum_is_crc32_of_the_head_and_column_sums() -> None:
    """An implementation in other words, from docs/protocol.md."""
    import zlib

    for size in (0, 1, 7, 8, 9, 8168, 8169, 20_000):
        body = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        sums = [0] * 1021
        padded = body.tobytes() + bytes(-size % 8)
        for index, (word,) in enumerate(struct.iter_unpack("<Q", padded)):
            sums[index % 1021] = (sums[index % 1021] + word) % 2**64
        assert checksum(b"head", body) == zlib.crc32(b"head" + struct.pack("<1021Q", *sums))


def test_sealing_twice_gives_the_same_bytes() -> None:
    frame = np.frombuffer(frame_of(), np.uint8).copy()
    assert seal(INT8, SIZE, frame) == frame_of()
