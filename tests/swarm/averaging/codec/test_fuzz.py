"""Whatever bytes a peer sends, decoding gives finite values or CodecError, and never anything else."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.averaging.aggregator import WeightedMean, reduce_span
from swarm.averaging.codec import CODECS, Codec, CodecError, check, decode, encode, squared_norm
from swarm.averaging.codec.checksum import checksum
from swarm.averaging.codec.frame import HEADER_BYTES

INPUTS = 25  # a hypothesis example
CODEC = st.sampled_from(CODECS)
SIZE = st.integers(1, 700)


def resealed(frame: bytearray) -> bytes:
    """With a checksum that fits, so that the damage reaches what lies behind it."""
    if len(frame) >= HEADER_BYTES:
        body = np.frombuffer(frame, np.uint8, offset=HEADER_BYTES)
        frame[20:24] = struct.pack("<I", checksum(bytes(frame[:20]), body))
    return bytes(frame)


@st.composite
def broken(draw: st.DrawFn, codec: Codec, size: int) -> bytes:
    """A valid frame with some bytes changed, cut, repeated or put in, sealed again or not; or no frame at all."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=60)) if draw(st.booleans()) else b"BSF\x02" + draw(st.binary(max_size=60))
    values = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(size, dtype=np.float32)
    frame = bytearray(encode(codec, values))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, min(len(frame), 40)) | st.integers(0, len(frame)))
        stop = start + draw(st.integers(0, 4))
        frame[start:stop] = draw(st.binary(max_size=4) | st.sampled_from([b"\xff" * 4, bytes(4), b"\x80", b"\x80\x7f"]))
    return resealed(frame) if draw(st.integers(0, 3)) else bytes(frame)


def feed(codec: Codec, size: int, frame: bytes) -> bool:
    """Was it taken? All that reads frames must agree on that."""
    out = np.full(size, np.nan, np.float32)
    try:
        decode(codec, frame, size, out)
    except CodecError:
        with pytest.raises(CodecError):
            squared_norm(codec, frame, size)
        with pytest.raises(CodecError):
            check(codec, frame, size)
        return False
    check(codec, frame, size)
    reduce_span(codec, WeightedMean(), size, [(frame, 1.0)], 1.0)  # takes what was checked
    assert np.isfinite(out).all()
    norm = squared_norm(codec, frame, size)
    assert 0 <= norm < float("inf")
    return True


def fuzz(examples: int) -> tuple[int, int]:
    """Inputs fed, and how many of them were frames after all."""
    fed = []

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        codec, size = data.draw(CODEC), data.draw(SIZE)
        for frame in data.draw(st.lists(broken(codec, size), min_size=INPUTS, max_size=INPUTS)):
            fed.append(feed(codec, size, frame))

    run()
    return len(fed), sum(fed)


def test_the_decoder_takes_or_refuses_some_thousand_inputs() -> None:
    inputs, taken = fuzz(120)
    assert inputs >= 3000
    assert 0 < taken < inputs  # changed values inside a frame are values; most damage is refused


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_decoder_takes_or_refuses_a_hundred_thousand_inputs() -> None:
    inputs, taken = fuzz(4000)
    assert inputs >= 100_000
    assert 0 < taken < inputs


@settings(max_examples=300, deadline=None)
@given(CODEC, st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=600))
def test_every_finite_float_comes_back_within_the_bound(codec: Codec, numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    back = decode(codec, encode(codec, values), len(values))
    assert (np.abs(values.astype(np.float64) - back) <= codec.error_bound(values)).all()
