"""The compiled codec: the same bits as numpy's and torch's, noticed where they are not, and not needed at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swarm import compiled
from swarm.averaging.codec import PIECE, Codec, CodecError, NonFiniteError, decode, encode, encode_with_feedback
from swarm.averaging.codec.agreement import difference
from swarm.averaging.codec.int8_block import KERNELS, Int8Block
from swarm.averaging.live.arithmetic import Arithmetic
from swarm.averaging.live.store import Store
from swarm.averaging.live.terms import terms_of
from swarm.averaging.round.events import Settle
from tests.swarm.averaging.codec.contract import CODEC_RULES
from tests.swarm.averaging.live.trainees import manifest

ARRAYS = Int8Block(compiled.none)


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    from swarm.averaging.codec import kernels

    return kernels


@pytest.fixture
def quick(kernels: ModuleType) -> Codec:
    return Int8Block(lambda *arrays: kernels)


@pytest.mark.parametrize("rule", CODEC_RULES, ids=lambda rule: rule.__name__)
def test_the_contract_holds_for_what_is_compiled(quick: Codec, rule: Callable[[Codec], None]) -> None:
    rule(quick)


def test_it_is_the_same(kernels: ModuleType) -> None:
    assert difference(kernels) == ""


@pytest.mark.parametrize("size", [1, 257, PIECE, PIECE + 1000])
def test_the_quality_is_the_same_but_for_the_order_of_additions(quick: Codec, size: int) -> None:
    values = np.random.default_rng(size).standard_normal(size, dtype=np.float32)
    one, other = (encode_with_feedback(codec, values, None).quality for codec in (ARRAYS, quick))
    assert other.squared_value == pytest.approx(one.squared_value, rel=1e-5)
    assert other.squared_error == pytest.approx(one.squared_error, rel=1e-3)
    assert other.product == pytest.approx(one.product, rel=1e-5)


def test_a_value_that_is_not_finite_is_found_where_it_is(quick: Codec) -> None:
    values = np.zeros(PIECE + 1000, np.float32)
    values[PIECE + 300] = np.nan
    for work in (encode, lambda codec, values: encode_with_feedback(codec, values, None)):
        with pytest.raises(NonFiniteError) as error:
            work(quick, values)
        assert error.value.index == PIECE + 300


def test_values_from_anywhere_in_memory(quick: Codec) -> None:
    """Strided, read-only, at an odd address: the same frame, and nothing is written to."""
    values = np.random.default_rng(3).standard_normal(1000, dtype=np.float32)
    odd = np.frombuffer(b"x" + values.tobytes(), np.float32, offset=1)
    strided = np.repeat(values, 2)[::2]
    assert not odd.flags.aligned
    assert not strided.flags.c_contiguous
    assert encode(quick, odd) == encode(quick, strided) == encode(ARRAYS, values)
    assert encode_with_feedback(quick, odd, None).frame == encode(ARRAYS, values)


def test_what_kernels_do_not_take_is_done_without_them(kernels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KERNELS, "found", kernels)
    values = np.random.default_rng(4).standard_normal(1000, dtype=np.float32)
    frame, codec = encode(ARRAYS, values), Int8Block()
    odd = np.frombuffer(bytearray(4001), np.float32, offset=1)
    assert KERNELS() is kernels
    assert KERNELS(odd) is KERNELS(np.zeros(8)[::2]) is None
    assert (decode(codec, frame, 1000, odd) == decode(ARRAYS, frame, 1000)).all()
    left = np.frombuffer(bytearray(2001), np.uint16, offset=1)
    encoded = encode_with_feedback(codec, values, None, out=left)
    assert (encoded.frame, encoded.residual is left) == (frame, True)
    assert (left == encode_with_feedback(ARRAYS, values, None).residual).all()


@pytest.mark.parametrize("name", ["decode", "add", "squares", "check"])
def test_a_code_that_nobody_writes_is_refused(quick: Codec, name: str) -> None:
    body = np.zeros(quick.wire_bytes(300), np.uint8)
    quick.encode(np.ones(300, np.float32), body)
    body[-1] = 0x80  # -128
    out = np.zeros(300, np.float32)
    work = {
        "decode": lambda: quick.decode(body, out),
        "add": lambda: quick.add(body, 0.5, out, out.copy()),
        "squares": lambda: quick.squares(body, 300),
        "check": lambda: quick.check(body, 300),
    }
    with pytest.raises(CodecError, match="-128"):
        work[name]()


def off(kernels: ModuleType, **others: Any) -> Any:
    names = ("encode", "unpack", "add", "squares")
    return SimpleNamespace(**{name: getattr(kernels, name) for name in names} | others)


def test_a_machine_on_which_it_is_not_the_same_is_noticed(kernels: ModuleType) -> None:
    """Each of the four, wrong in one bit of one value."""

    def encode_up(
        values: np.ndarray, owed: np.ndarray, codes: np.ndarray, bits: np.ndarray, left: Any, sums: Any
    ) -> int:
        found = kernels.encode(values, owed, codes, bits, left, sums)
        left[-1:] ^= 1
        return found

    def unpack_up(codes: np.ndarray, scales: np.ndarray, out: np.ndarray) -> int:
        least = kernels.unpack(codes, scales, out)
        out[-1] = np.nextafter(out[-1], np.float32(2))
        return least

    def add_fused(codes: np.ndarray, scales: np.ndarray, out: np.ndarray) -> int:
        wide = out + codes * np.repeat(scales.astype(np.float64), 256)[: len(out)]
        out[:] = wide.astype(np.float32)
        return 0

    def squares_up(codes: np.ndarray, out: np.ndarray) -> int:
        least = kernels.squares(codes, out)
        out[-1] += 1
        return least

    assert difference(off(kernels, encode=encode_up)).startswith("encoding 1 ")
    assert difference(off(kernels, unpack=unpack_up)).startswith("decoding 1 ")
    assert difference(off(kernels, add=add_fused)).startswith("decoding ")
    assert difference(off(kernels, squares=squares_up)).startswith("squares of 1 ")


def test_without_numba_a_peer_goes_on() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from swarm import compiled\n"
        "from swarm.averaging.codec.int8_block import KERNELS\n"
        "from tests.swarm.averaging.codec import golden\n"
        "assert not compiled.ready() and KERNELS() is None\n"
        "assert golden.golden() == golden.DIGEST\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    found: list[bool] = []
    monkeypatch.setattr(compiled, "start", lambda: found.append(True))
    return found


@pytest.mark.parametrize(("size", "wanted"), [(compiled.WORTH, True), (10_000, False)])
def test_a_peer_compiles_after_its_first_commit_if_there_is_enough_to_compute(
    size: int, wanted: bool, starts: list[bool]
) -> None:
    arithmetic = Arithmetic(terms_of(manifest(), size), Store(None), Store(None))
    try:
        arithmetic.settle(Settle("sender", "keep", 0, b"b" * 32))
        assert not starts
        arithmetic.settle(Settle("sender", "adopt", 0, b"b" * 32))
        assert bool(starts) == wanted
    finally:
        arithmetic.close()
