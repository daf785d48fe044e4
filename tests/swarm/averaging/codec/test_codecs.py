"""The contract of codecs and aggregators over every registered one, and what only single codecs promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from swarm.averaging.aggregator import AGGREGATORS, Aggregator, aggregator_named
from swarm.averaging.codec import CODECS, Codec, codec_named, encode, frame_bytes
from swarm.errors import IncompatibleError
from swarm.run.sizing import WIRE, bytes_per_exchange
from tests.swarm.averaging.codec.contract import AGGREGATOR_RULES, CODEC_RULES, decoded, encoded, inputs

FLOAT32_TINY = np.finfo(np.float32).tiny


@pytest.mark.parametrize("rule", CODEC_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
def test_codec(codec: Codec, rule: Callable[[Codec], None]) -> None:
    rule(codec)


@pytest.mark.parametrize("rule", AGGREGATOR_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("aggregator", AGGREGATORS, ids=lambda aggregator: aggregator.label)
def test_aggregator(aggregator: Aggregator, rule: Callable[[Aggregator], None]) -> None:
    rule(aggregator)


@pytest.mark.parametrize("label", ["int8-block@1", "float16@1"])
def test_nothing_decoded_is_denormal(label: str) -> None:
    """A processor that flushes denormals would decode something else."""
    codec = codec_named(label)
    for name, values in inputs().items():
        size = np.abs(decoded(codec, encoded(codec, values), len(values)))
        assert ((size == 0) | (size >= FLOAT32_TINY)).all(), name


def test_the_bound_of_eight_bits_is_half_a_254th_of_a_blocks_range() -> None:
    """The figure the documents state, without the codec's own help: 0.506 of largest / 127."""
    codec = codec_named("int8-block@1")
    for name in ("normal", "outliers", "rows of zeros", "constant"):
        values = inputs()[name]
        back = decoded(codec, encoded(codec, values), len(values))
        for start in range(0, len(values), 256):
            block = slice(start, start + 256)
            largest = float(np.abs(values[block]).max())
            assert np.abs(values[block] - back[block]).max() <= 0.506 * largest / 127, (name, start)


def test_a_block_is_not_touched_by_its_neighbours() -> None:
    codec = codec_named("int8-block@1")
    values = inputs()["normal"][:1024].copy()
    before = decoded(codec, encoded(codec, values), 1024)
    values[700] = 1e30
    after = decoded(codec, encoded(codec, values), 1024)
    assert (before[:512] == after[:512]).all()
    assert (before[768:] == after[768:]).all()


@pytest.mark.parametrize("size", [2**10, 2**16, 2**18, 2**20, 2**24])
def test_eight_bits_a_value_and_at_most_one_per_cent(size: int) -> None:
    frame = frame_bytes(codec_named("int8-block@1"), size)
    assert size <= frame <= 1.01 * size or size == 2**10  # 32 bytes of 1,056 are more, on the smallest span there is
    assert frame <= 1.04 * size


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
def test_sizing_promises_what_frames_have(codec: Codec) -> None:
    """`create --dry-run` and `doctor` tell volunteers these bytes."""
    assert codec.name in WIRE
    for size in (256, 1000, 2**18, 2**18 + 1):
        frame = encode(codec, np.zeros(size, np.float32))
        assert len(frame) == frame_bytes(codec, size)
        assert len(frame) - bytes_per_exchange(size, codec.label) <= 32
        assert len(frame) >= bytes_per_exchange(size, codec.label)


def test_a_peer_without_the_codec_is_refused_by_name() -> None:
    with pytest.raises(IncompatibleError, match=r"codec is ternary@3, this version has int8-block@1, .*; upgrade"):
        codec_named("ternary@3")
    with pytest.raises(IncompatibleError, match="int8-block@2"):
        codec_named("int8-block@2")


def test_a_peer_without_the_aggregator_is_refused_by_name() -> None:
    with pytest.raises(IncompatibleError, match=r"aggregator is krum@1, this version has weighted-mean@1; upgrade"):
        aggregator_named("krum@1")


def test_labels_are_unique() -> None:
    for registered in (CODECS, AGGREGATORS):
        labels = [item.label for item in registered]
        assert len(labels) == len(set(labels))
