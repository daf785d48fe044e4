"""The reducer's arithmetic: the mean of what was sent, in roster order, encoded once, with its own residual."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from swarm.averaging.aggregator import WeightedMean, reduce_span
from swarm.averaging.codec import CODECS, PIECE, Codec, CodecError, codec_named, decode, encode, encode_with_feedback
from swarm.averaging.codec.frame import open_frame
from swarm.averaging.codec.int8_block import from_bits

INT8 = codec_named("int8-block@1")
SIZE = PIECE + 777


def contributions(codec: Codec, weights: list[float], size: int = SIZE) -> list[tuple[bytes, float]]:
    random = np.random.default_rng(len(weights))
    return [(encode(codec, random.standard_normal(size, dtype=np.float32)), weight) for weight in weights]


def exact_mean(codec: Codec, sent: list[tuple[bytes, float]], size: int = SIZE) -> np.ndarray:
    total = sum(weight for _, weight in sent)
    return sum(decode(codec, frame, size).astype(np.float64) * (weight / total) for frame, weight in sent)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
@pytest.mark.parametrize("weights", [[3.0], [1.0, 1.0], [8.0, 16.0, 24.0, 1.0], [1.0, 0.0, 2.0], [1.0] * 64])
def test_it_is_the_weighted_mean_within_the_codecs_bound(codec: Codec, weights: list[float]) -> None:
    size = SIZE if len(weights) < 10 else 1000
    sent = contributions(codec, weights, size)
    reduced = reduce_span(codec, WeightedMean(), size, sent, sum(weights))
    exact = exact_mean(codec, sent, size)
    error = np.abs(decode(codec, reduced.frame, size) - exact)
    rounding = len(weights) * 2**-23 * 6
    assert (error <= codec.error_bound(exact.astype(np.float32)) * (1 + 2**-6) + rounding).all()
    assert np.linalg.norm(error) < 0.01 * np.linalg.norm(exact)


def test_the_arithmetic_is_the_documented_one() -> None:
    """share rounded once to float32 and multiplied with the scale, then with the codes; added in roster order."""
    size = 1000  # four blocks
    sent = contributions(INT8, [8.0, 16.0, 24.0], size)
    mean = np.zeros(size, np.float32)
    for frame, weight in sent:
        body = open_frame(INT8, size, frame)
        scales = from_bits(body[:8].view(np.uint16)) * np.float32(weight / 48.0)
        mean = mean + body[8:].view(np.int8) * np.repeat(scales, 256)[:size]
    assert reduce_span(INT8, WeightedMean(), size, sent, 48.0).frame == encode(INT8, mean)


def test_the_order_is_the_rosters() -> None:
    """Another order rounds differently, so two reducers agree only because the roster fixes it."""
    sent = contributions(codec_named("none@1"), [1.0, 1.0, 1.0], 5000)
    frames = {
        bytes(reduce_span(codec_named("none@1"), WeightedMean(), 5000, list(some), 3.0).frame)
        for some in permutations(sent)
    }
    assert len(frames) > 1


def test_the_reducers_residual_is_paid_and_made_anew() -> None:
    sent = contributions(INT8, [1.0, 1.0])
    first = reduce_span(INT8, WeightedMean(), SIZE, sent, 2.0)
    second = reduce_span(INT8, WeightedMean(), SIZE, sent, 2.0, residual=first.residual)
    mean = sum(decode(INT8, frame, SIZE) * np.float32(0.5) for frame, _ in sent)
    expected = encode_with_feedback(INT8, mean, first.residual)
    assert second.frame == expected.frame
    assert (second.residual == expected.residual).all()
    exact = exact_mean(INT8, sent)
    once = decode(INT8, first.frame, SIZE).astype(np.float64)
    twice = (once + decode(INT8, second.frame, SIZE)) / 2
    assert np.linalg.norm(twice - exact) < 0.7 * np.linalg.norm(once - exact)


def test_a_bad_frame_stops_it_before_anything_is_combined() -> None:
    sent = contributions(INT8, [1.0, 1.0])
    damaged = sent[1][0][:-1]
    residual = np.zeros(SIZE, np.uint16)
    with pytest.raises(CodecError, match="refused"):
        reduce_span(INT8, WeightedMean(), SIZE, [sent[0], (damaged, 1.0)], 2.0, residual)
    assert not residual.any()


def test_huge_contributions_stay_finite() -> None:
    largest = np.full(1000, np.finfo(np.float32).max, np.float32)
    sent = [(encode(INT8, largest), weight) for weight in (0.1, 0.2, 0.3, 0.4, 0.7)]
    back = decode(INT8, reduce_span(INT8, WeightedMean(), 1000, sent, sum(w for _, w in sent)).frame, 1000)
    assert np.isfinite(back).all()
    assert (back > 0.98 * largest).all()
