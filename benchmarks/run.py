"""A run for benchmarks of averaging: a manifest with nothing in it but what averaging reads, over a bare vector."""

from __future__ import annotations

from typing import Any

from swarm.model.layout import Layout, Tensor
from swarm.run.manifest import LanguageStock, Manifest, parse_config, resolve

OWNER = "12D3KooWLbcx2K8JB6aHAWqsKmJ7nKkpvnmLpXXHYvgHqPBDzuTu"


def layout_of(values: int) -> Layout:
    """One tensor of so many values."""
    return Layout((Tensor("values", (values,), 0),))


def span_size_of(values: int, peers: int) -> int:
    """Spans of 2^20 values, smaller where that would be fewer than four for each peer."""
    size = 2**20
    while size > 1024 and values < 4 * peers * size:
        size //= 2
    return size


def manifest_of(values: int, peers: int, codec: str = "int8-block@1") -> Manifest:
    """A round is due when every peer has one sample."""
    return filled(
        {
            "name": "benchmark",
            "model": {"vocab_size": 1024, "hidden_size": 32, "layers": 1, "heads": 2, "sequence_length": 16},
            "training": {"steps": 1_000_000, "global_batch": peers, "checkpoint_every": 64},
            "averaging": {"codec": codec, "span_size": span_size_of(values, peers)},
        }
    )


def filled(value: dict[str, Any]) -> Manifest:
    """The manifest of a configuration, as if `create` had read text for it."""
    source = {"kind": "starter", "licence": "CC0-1.0"}
    config = parse_config({"data": {"sources": [source]}, **value}, "the benchmark")
    stock = {"en": LanguageStock(documents=1, text_bytes=1, tokens=1, sequences=1, digest="0" * 64)}
    created = {"owner": OWNER, "created": "2026-01-31"}
    return resolve(config, tokenizer_digest="1" * 64, initial_digest="2" * 64, stock=stock, **created)
