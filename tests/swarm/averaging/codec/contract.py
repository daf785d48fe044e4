"""What every codec and every aggregator must do: rules as functions, run over the registered ones and over those that
docs/extending.md builds. A rule raises AssertionError where the promise of `Codec` or `Aggregator` is broken.

    @pytest.mark.parametrize("rule", CODEC_RULES)
    def test_mine(rule):
        rule(Mine())
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from swarm.averaging.aggregator import Aggregator
from swarm.averaging.codec import PIECE, Codec, CodecError, NonFiniteError

HUGE = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).smallest_subnormal)
SIZES = (1, 2, 255, 256, 257, 1024, 5000)


def inputs() -> dict[str, np.ndarray]:
    """(n,) float32 vectors that a codec meets or that break one."""
    random = np.random.default_rng(7)
    normal = random.standard_normal(5000, dtype=np.float32)
    scales = np.repeat(np.float32(10.0) ** np.linspace(-44, 37, 82, dtype=np.float32), 61)[:5000]
    rows = normal.copy()
    rows.reshape(50, 100)[::3] = 0  # an embedding's gradient: rows of tokens that did not occur
    with np.errstate(under="ignore"):
        return {
            "normal": normal,
            "one": np.array([-0.3], np.float32),
            "zeros": np.zeros(700, np.float32),
            "negative zeros": np.full(300, -0.0, np.float32),
            "rows of zeros": rows,
            "outliers": np.where(random.random(5000) < 0.001, normal * np.float32(1e4), normal),
            "every scale": normal * scales,
            "denormals": normal * np.float32(1e-40),
            "the smallest": np.array([TINY, -TINY, 0.0] * 100, np.float32),
            "the largest": np.array([HUGE, -HUGE, 0.0, 1.0] * 100, np.float32),
            "huge beside tiny": np.array([HUGE, TINY, 1e-30, -1.0] * 64, np.float32),
            "constant": np.full(1000, 1.7, np.float32),
        }


def encoded(codec: Codec, values: np.ndarray) -> np.ndarray:
    body = np.full(codec.wire_bytes(len(values)), 0xA5, np.uint8)
    codec.encode(values, body)
    return body


def decoded(codec: Codec, body: np.ndarray, size: int) -> np.ndarray:
    out = np.full(size, np.nan, np.float32)
    codec.decode(body, out)
    return out


def has_a_label_that_a_manifest_can_hold(codec: Codec) -> None:
    from swarm.run.schema import AveragingSpec

    assert AveragingSpec(codec=codec.label).codec == f"{codec.name}@{codec.version}"


def keeps_to_its_error_bound(codec: Codec) -> None:
    for name, values in inputs().items():
        back = decoded(codec, encoded(codec, values), len(values))
        assert np.isfinite(back).all(), name
        error = np.abs(values.astype(np.float64) - back.astype(np.float64))
        over = error - codec.error_bound(values)
        assert (over <= 0).all(), f"{name}: {over.max():.3g} over the bound at {over.argmax()}"


def bounds_are_worth_something(codec: Codec) -> None:
    """A bound of half the largest value or more would promise nothing."""
    normal = inputs()["normal"]
    assert codec.error_bound(normal).max() < np.abs(normal).max() / 2


def is_exact_on_zeros(codec: Codec) -> None:
    for size in SIZES:
        values = np.zeros(size, np.float32)
        back = decoded(codec, encoded(codec, values), size)
        assert (back == 0).all(), size


def fills_exactly_its_bytes(codec: Codec) -> None:
    """Every byte is written (two different fillings end equal) and as many as `wire_bytes` says."""
    for size in (*SIZES, PIECE):
        values = np.random.default_rng(size).standard_normal(size, dtype=np.float32)
        first, second = np.zeros(codec.wire_bytes(size), np.uint8), np.full(codec.wire_bytes(size), 255, np.uint8)
        codec.encode(values, first)
        codec.encode(values, second)
        assert (first == second).all(), size


def takes_values_it_may_not_write(codec: Codec) -> None:
    values = inputs()["outliers"]
    kept, frozen, strided = values.copy(), values.copy(), np.repeat(values, 2)[::2]
    frozen.flags.writeable = False
    expected = encoded(codec, values)
    assert (encoded(codec, frozen) == expected).all()
    assert (encoded(codec, strided) == expected).all()
    assert (values == kept).all()
    expected.flags.writeable = False
    assert np.isfinite(decoded(codec, expected, len(values))).all()


def refuses_what_is_not_finite(codec: Codec) -> None:
    for bad in (math.nan, math.inf, -math.inf):
        for place in (0, 256, 776):
            values = np.random.default_rng(1).standard_normal(777, dtype=np.float32)
            values[place] = bad
            with pytest.raises(NonFiniteError) as caught:
                encoded(codec, values)
            assert caught.value.index == place


def decodes_any_bytes_or_refuses_them(codec: Codec) -> None:
    random = np.random.default_rng(3)
    for size in SIZES:
        good = encoded(codec, random.standard_normal(size, dtype=np.float32))
        for turn in range(50):
            body = random.integers(0, 256, len(good), dtype=np.uint8) if turn % 2 else good.copy()
            body[random.integers(0, len(body))] = random.integers(0, 256)
            out = np.zeros(size, np.float32)
            try:
                codec.decode(body, out)
            except CodecError:
                continue
            assert np.isfinite(out).all(), size


def squares_are_those_of_the_decoded_values(codec: Codec) -> None:
    for name, values in inputs().items():
        body = encoded(codec, values)
        back = decoded(codec, body, len(values))
        sums = codec.squares(body, len(values))
        assert sums.dtype == np.float64, name
        exact = float(sum(Fraction(float(value)) ** 2 for value in back))
        assert math.isclose(math.fsum(sums.tolist()), exact, rel_tol=1e-14), name


def is_a_pure_function(codec: Codec) -> None:
    values = inputs()["normal"]
    assert (encoded(codec, values) == encoded(type(codec)(), values)).all()


CODEC_RULES: tuple[Callable[[Codec], None], ...] = (
    has_a_label_that_a_manifest_can_hold,
    keeps_to_its_error_bound,
    bounds_are_worth_something,
    is_exact_on_zeros,
    fills_exactly_its_bytes,
    takes_values_it_may_not_write,
    refuses_what_is_not_finite,
    decodes_any_bytes_or_refuses_them,
    squares_are_those_of_the_decoded_values,
    is_a_pure_function,
)


def combined(aggregator: Aggregator, columns: np.ndarray, shares: list[float]) -> np.ndarray:
    """The aggregate of `columns` (senders, n), handed over as the reducer does: one buffer used again and again."""
    buffer, out = np.empty(columns.shape[1], np.float32), np.full(columns.shape[1], np.nan, np.float32)

    def rows():  # type: ignore[no-untyped-def]
        for values, share in zip(columns, shares, strict=True):
            buffer[:] = values
            yield buffer, share
            buffer.fill(np.nan)  # gone: an aggregator that kept it without a copy shows it

    aggregator.combine(rows(), out)
    return out


def has_a_label(aggregator: Aggregator) -> None:
    from swarm.run.schema import AveragingSpec

    assert AveragingSpec(aggregator=aggregator.label).aggregator == f"{aggregator.name}@{aggregator.version}"


def one_sender_is_its_own_aggregate(aggregator: Aggregator) -> None:
    values = inputs()["normal"]
    assert (combined(aggregator, values[None], [1.0]) == values).all()


def equal_senders_agree(aggregator: Aggregator) -> None:
    values = inputs()["normal"]
    for senders in (2, 3, 4, 7):
        out = combined(aggregator, np.tile(values, (senders, 1)), [1 / senders] * senders)
        assert np.allclose(out, values, rtol=1e-5, atol=0), senders


def lies_between_the_senders(aggregator: Aggregator) -> None:
    columns = np.random.default_rng(5).standard_normal((5, 3000), dtype=np.float32)
    out = combined(aggregator, columns, [0.1, 0.2, 0.3, 0.15, 0.25])
    slack = 1e-6
    assert (out >= columns.min(0) - slack).all()
    assert (out <= columns.max(0) + slack).all()


def works_piece_by_piece(aggregator: Aggregator) -> None:
    columns = np.random.default_rng(6).standard_normal((4, 3000), dtype=np.float32)
    shares = [0.25] * 4
    whole = combined(aggregator, columns, shares)
    halves = [combined(aggregator, columns[:, :1700], shares), combined(aggregator, columns[:, 1700:], shares)]
    assert (np.concatenate(halves) == whole).all()


def is_repeatable(aggregator: Aggregator) -> None:
    columns = np.random.default_rng(8).standard_normal((6, 2000), dtype=np.float32)
    first, second = (combined(item, columns, [1 / 6] * 6) for item in (aggregator, type(aggregator)()))
    assert (first == second).all()


AGGREGATOR_RULES: tuple[Callable[[Aggregator], None], ...] = (
    has_a_label,
    one_sender_is_its_own_aggregate,
    equal_senders_agree,
    lies_between_the_senders,
    works_piece_by_piece,
    is_repeatable,
)
