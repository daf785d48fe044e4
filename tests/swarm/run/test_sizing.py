"""Sizes: exact against the published models and transformers itself; the rest as `create --dry-run` prints it."""

from __future__ import annotations

import json

import pytest

from swarm.run.manifest import ModelSpec, parse_config
from swarm.run.sizing import bytes_per_exchange, parameters, show_bytes, show_seconds, sizing

PUBLISHED = {  # (hidden, layers, heads): parameters on the model cards of bigscience/bloom-*
    (1024, 24, 16): 559_214_592,
    (1536, 24, 16): 1_065_314_304,
    (2048, 24, 16): 1_722_408_960,
    (2560, 30, 32): 3_002_557_440,
    (4096, 30, 32): 7_069_016_064,
}


@pytest.mark.parametrize("shape", list(PUBLISHED))
def test_parameter_counts_are_the_published_ones(shape: tuple[int, int, int]) -> None:
    hidden, layers, heads = shape
    spec = ModelSpec(vocab_size=250_880, hidden_size=hidden, layers=layers, heads=heads, sequence_length=2048)
    assert parameters(spec) == PUBLISHED[shape]


def test_parameter_counts_are_those_of_transformers() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    spec = ModelSpec(vocab_size=301, hidden_size=24, layers=3, heads=4, sequence_length=16)
    model = BloomForCausalLM(BloomConfig(vocab_size=301, hidden_size=24, n_layer=3, n_head=4))
    assert parameters(spec) == sum(value.numel() for value in model.parameters())


def test_bytes_on_the_wire_are_the_codecs() -> None:
    from swarm.averaging.codec import CODECS

    for codec in CODECS:
        for size in (256, 2**17, 2**17 - 1):
            assert bytes_per_exchange(size, codec.label) == pytest.approx(codec.wire_bytes(size), abs=2), codec.label
    assert bytes_per_exchange(1000, "unheard-of@3") == 4000


def test_what_a_dry_run_prints() -> None:
    model = {"vocab_size": 250_880, "hidden_size": 1024, "layers": 24, "heads": 16, "sequence_length": 2048}
    values = {"name": "x", "model": model, "data": {"sources": [{"kind": "starter"}]},
              "training": {"steps": 100, "global_batch": 256}}  # fmt: skip
    size = sizing(parse_config(values, "x"))
    text = size.describe()
    assert "559,214,592 (46 % of them the embedding)" in text
    assert "52,428,800 tokens" in text
    assert "564 MB a step in int8-block@1 (2.2 GB in float32)" in text
    for precision in ("float32", "bfloat16", "8-bit optimizer"):
        assert precision in text
    totals = [memory.total_bytes for memory in size.memory]
    assert totals == sorted(totals, reverse=True)
    assert 10e9 < totals[-1] < totals[0] < 60e9
    value = json.loads(json.dumps(size.to_dict()))
    assert value["parameters"] == 559_214_592
    assert value["memory"][0]["total_bytes"] == totals[0]
    assert value["bytes_per_exchange"] == size.bytes_per_exchange
    assert 85 < size.upload_seconds(100) < 95


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5 B"), (1500, "1.5 kB"), (564e6, "564 MB"), (7.1e9, "7.1 GB"), (2e12, "2.0 TB")]
)
def test_bytes_are_told_in_decimal_units(size: float, text: str) -> None:
    assert show_bytes(int(size)) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4 s"), (45, "45 s"), (450, "7.5 min"), (11_000, "3.1 h")])
def test_durations(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text
