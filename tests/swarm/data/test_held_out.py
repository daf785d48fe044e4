"""What is measured during a run: the same text every time, and by peers whom all agree on."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from swarm.data.held_out import evaluators, held_out
from swarm.data.sources import texts_by_language
from swarm.data.tokenizer import Tokenizer, train
from swarm.model.bloom import build_model
from swarm.model.evaluation import bits_per_byte
from swarm.run.manifest import DataSpec, SourceSpec
from swarm.run.schema import ModelSpec

SPEC = ModelSpec(vocab_size=300, hidden_size=16, layers=1, heads=2, sequence_length=16)
STARTER = DataSpec(sources=(SourceSpec(kind="starter", languages=("en", "fr")),))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(train(texts_by_language(STARTER, None), 300))


def test_it_is_a_small_part_of_the_validation_text_and_the_same_each_time(tokenizer: Tokenizer) -> None:
    one, again = (held_out(STARTER, None, tokenizer, sequence_length=16, sequences=3) for _ in range(2))
    assert one is not None
    assert again is not None
    assert {code: part.shape for code, part in one.windows.items()} == {"en": (3, 16), "fr": (3, 16)}
    assert one.digest == again.digest
    other = held_out(STARTER, None, tokenizer, sequence_length=16, sequences=4)
    assert other is not None
    assert other.digest != one.digest


def test_a_run_without_validation_text_has_none(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "en.jsonl").write_text(json.dumps({"text": "Only to train on. " * 30}) + "\n", encoding="utf-8")
    data = DataSpec(sources=(SourceSpec(kind="folder", path="."),))
    assert held_out(data, tmp_path, tokenizer, sequence_length=16, sequences=3) is None


def test_bits_per_byte_are_those_of_the_predicted_tokens(tokenizer: Tokenizer) -> None:
    found, model = held_out(STARTER, None, tokenizer, sequence_length=16, sequences=3), build_model(SPEC)
    assert found is not None
    windows = found.windows["fr"]
    ids = torch.from_numpy(windows)
    with torch.inference_mode():
        logs = model(input_ids=ids).logits.log_softmax(-1)[:, :-1]
    nats = -float(logs.gather(-1, ids[:, 1:, None]).sum())
    size = sum(int(tokenizer.token_bytes[token]) for row in windows for token in row[1:])
    assert bits_per_byte(model, windows, tokenizer.token_bytes) == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert bits_per_byte(model, windows, tokenizer.token_bytes, stop=lambda: True) is None
    assert model.training


def test_turns_are_fair_and_who_leaves_moves_nobody_else() -> None:
    peers = tuple(f"peer-{index}" for index in range(10))
    turns = Counter(peer for step in range(500) for peer in evaluators("run", step, peers))
    assert set(turns) == set(peers)
    assert max(turns.values()) < 2 * min(turns.values())
    for step in range(50):
        first = evaluators("run", step, peers)
        assert evaluators("run", step, peers[::-1]) == first
        idle = next(peer for peer in peers if peer not in first)
        assert evaluators("run", step, tuple(peer for peer in peers if peer != idle)) == first
    assert evaluators("run", 0, ("alone",)) == ("alone",)
    assert len({evaluators(run, 7, peers) for run in map(str, np.arange(20))}) > 1
