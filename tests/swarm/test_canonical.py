"""One value, one sequence of bytes: otherwise two peers would see two runs in the same manifest."""

from __future__ import annotations

import json
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.canonical import MAX_DEPTH, canonical_bytes, digest

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_the_form_is_pinned() -> None:
    value = {"b": [1, 2.5, None, True], "a": "é ", "": {}}
    assert canonical_bytes(value) == '{"":{},"a":"é ","b":[1,2.5,null,true]}'.encode()
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(plain)
def test_reads_back_to_the_same_value_and_the_same_bytes(value: object) -> None:
    try:
        data = canonical_bytes(value)
    except ValueError:  # text with a lone surrogate
        return
    assert json.loads(data) == value
    assert canonical_bytes(json.loads(data)) == data


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), {1: 2}, {None: 1}, {"a": {1, 2}}, b"x", Colour.RED, "\ud800", {"\udfff": 1}]
)
def test_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_bytes(value)


def test_nesting_is_bounded() -> None:
    value: list = []
    for _ in range(MAX_DEPTH):
        value = [value]
    canonical_bytes(value)
    with pytest.raises(ValueError, match="nested deeper"):
        canonical_bytes([value])
