"""Error feedback: nothing is lost but the rounding of a residual, and residuals can be computed again to the bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swarm.averaging.codec import (
    CODECS,
    PIECE,
    Codec,
    NonFiniteError,
    Quality,
    codec_named,
    decode,
    encode,
    encode_with_feedback,
    residual_after,
    squared_norm,
    squares,
)
from swarm.averaging.mean import FloatMean

INT8 = codec_named("int8-block@1")
HUGE = np.finfo(np.float32).max


def normal(seed: int, size: int = 5000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)


def as_float(residual: np.ndarray) -> np.ndarray:
    return (residual.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
@pytest.mark.parametrize("size", [1, 777, PIECE + 300])
def test_contributed_is_applied_and_residual(codec: Codec, size: int) -> None:
    """x + e = dec(q) + e', but for what bfloat16 rounds off e': at most 2^-8 of it (and the float32 sum x + e)."""
    values, residual = normal(1, size), None
    for turn in range(3):
        encoded = encode_with_feedback(codec, values, residual)
        total = (values + (0 if residual is None else as_float(residual)).astype(np.float32)) if turn else values
        total = np.float32(total).astype(np.float64)
        applied, left = decode(codec, encoded.frame, size).astype(np.float64), as_float(encoded.residual)
        gap = np.abs(total - applied - left)
        assert (gap <= np.abs(total - applied) * 2**-8 + 1e-45).all(), gap.max()
        assert len(encoded.frame) == len(encode(codec, values))
        residual = encoded.residual


def test_over_many_rounds_nothing_is_lost() -> None:
    """The sum of what was applied stays within one residual of the sum contributed; without feedback it drifts."""
    values = np.concatenate([normal(2, 255) * np.float32(0.003), np.ones(1, np.float32)])  # all below half a step
    with_feedback, without, residual = np.zeros(256), np.zeros(256), None
    for _ in range(200):
        encoded = encode_with_feedback(INT8, values, residual)
        residual = encoded.residual
        with_feedback += decode(INT8, encoded.frame, 256)
        without += decode(INT8, encode(INT8, values), 256)
    contributed = 200 * values.astype(np.float64)
    gap = np.abs(contributed - with_feedback - as_float(residual))
    assert gap.max() < 200 * 2**-9 / 127  # 200 roundings of residuals of at most half a step
    assert np.linalg.norm(contributed - with_feedback) < 0.05 * np.linalg.norm(contributed - without)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
def test_the_residual_can_be_computed_again_in_place(codec: Codec) -> None:
    values = normal(3, PIECE + 5)
    first = encode_with_feedback(codec, normal(4, PIECE + 5), None)
    second = encode_with_feedback(codec, values, first.residual)
    again = residual_after(codec, values, first.residual, second.frame)
    assert (again == second.residual).all()
    kept = first.residual.copy()
    assert residual_after(codec, values, kept, second.frame, out=kept) is kept
    assert (kept == second.residual).all()


def test_values_and_residual_stay_as_they_are() -> None:
    values, residual = normal(5), encode_with_feedback(INT8, normal(6), None).residual
    copies = values.copy(), residual.copy()
    values.flags.writeable = residual.flags.writeable = False
    encode_with_feedback(INT8, values, residual)
    assert (values == copies[0]).all()
    assert (residual == copies[1]).all()


def test_without_a_residual_the_frame_is_that_of_encode() -> None:
    values = normal(7, PIECE + 1234)
    assert encode_with_feedback(INT8, values, None).frame == encode(INT8, values)
    assert encode_with_feedback(INT8, values, np.zeros(len(values), np.uint16)).frame == encode(INT8, values)


def test_a_sum_that_overflows_is_cut_and_what_is_cut_off_counts_as_sent() -> None:
    values = np.full(512, HUGE, np.float32)
    values[1::2] *= -1
    residual = np.full(512, 0x7F00, np.uint16)  # 1.7e38
    residual[1::2] |= 0x8000
    encoded = encode_with_feedback(INT8, values, residual)
    back = decode(INT8, encoded.frame, 512)
    assert np.isfinite(back).all()
    assert (np.abs(back / values - 1) < 0.01).all()
    assert (residual_after(INT8, values, residual, encoded.frame) == encoded.residual).all()
    assert math.isfinite(encoded.quality.relative_error)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["values", "residual"])
def test_refuses_what_is_not_finite_in_either(bad: float, where: str) -> None:
    """The index counts from the start of the span, in the second piece too."""
    values, residual = normal(8, PIECE + 900), np.zeros(PIECE + 900, np.uint16)
    if where == "values":
        values[PIECE + 700] = bad
    else:
        residual[PIECE + 700] = np.array([bad], np.float32).view(np.uint32)[0] >> 16
    with pytest.raises(NonFiniteError) as caught:
        encode_with_feedback(INT8, values, residual)
    assert caught.value.index == PIECE + 700


def test_the_error_names_the_tensor() -> None:
    values = normal(9, PIECE + 900)
    values[PIECE + 700] = math.nan
    with pytest.raises(NonFiniteError) as caught:
        encode(INT8, values)
    shifted = caught.value.shifted(10 * PIECE)
    names, offsets = ["embedding", "h.0.mlp.bias", "ln_f"], [0, 11 * PIECE + 600, 11 * PIECE + 701]
    assert str(shifted.named(names, offsets)).startswith(f"tensor h.0.mlp.bias (value {11 * PIECE + 700}) is nan;")
    offsets[1] = 11 * PIECE + 700  # its first value
    assert "h.0.mlp.bias" in str(shifted.named(names, offsets))
    offsets[1] = 11 * PIECE + 701
    assert "tensor embedding" in str(shifted.named(names, offsets))


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e-40, 1e20, 1e37])
def test_quality_is_that_of_double_precision(scale: float) -> None:
    values = normal(10, PIECE + 300) * np.float32(scale)
    encoded = encode_with_feedback(INT8, values, None)
    exact, back = values.astype(np.float64), decode(INT8, encoded.frame, len(values)).astype(np.float64)
    error = np.linalg.norm(exact - back) / np.linalg.norm(exact)
    cosine = exact @ back / np.linalg.norm(exact) / np.linalg.norm(back) if back.any() else 0.0
    assert math.isclose(encoded.quality.relative_error, error, rel_tol=1e-3)
    assert math.isclose(encoded.quality.cosine, cosine, abs_tol=1e-5)


def test_quality_of_zeros_and_of_sums() -> None:
    zeros = encode_with_feedback(INT8, np.zeros(300, np.float32), None).quality
    assert (zeros.relative_error, zeros.cosine) == (0.0, 1.0)
    assert Quality(4.0, 4.0, 0.0).cosine == 0.0  # all was lost
    both = Quality(3.0, 0.3, 2.9) + Quality(1.0, 0.1, 0.9)
    assert math.isclose(both.relative_error, math.sqrt(0.1))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
def test_norms_are_exact_and_agree_with_the_float_mean(codec: Codec) -> None:
    values = normal(11, PIECE + 5000)
    frame = encode(codec, values)
    back = decode(codec, frame, len(values))
    assert math.isclose(squared_norm(codec, frame, len(values)), FloatMean(back, PIECE).squared_norm(), rel_tol=1e-15)
    assert sum(len(part) for part in squares(codec, frame, len(values))) == -(-len(values) // 256)


def test_the_norm_does_not_depend_on_how_the_vector_is_cut() -> None:
    values = normal(12, 2**16)
    terms = {
        math.fsum(
            term
            for start in range(0, 2**16, span)
            for part in squares(INT8, encode(INT8, values[start : start + span]), span)
            for term in part.tolist()
        )
        for span in (2**10, 2**12, 2**16)
    }
    assert len(terms) == 1
