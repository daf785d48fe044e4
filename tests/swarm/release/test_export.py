"""Export: transformers loads it by itself and computes what we compute. Evaluation: against arithmetic done by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from swarm.data.tokenizer import load as load_tokenizer
from swarm.errors import ConfigError, DataError
from swarm.model.bloom import model_from_vector
from swarm.model.evaluation import evaluate, sample_text
from swarm.release.export import export
from swarm.state.checkpoint import save
from tests.peers.whole_swarm import LENGTH, Run

TEXTS = {"en": ["The garden is behind the school.", "Bread"], "fr": ["L'été, le jardin est plein d'abeilles.\n\n  Fin"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def checkpoint(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = run.state()
    state.step, state.samples = 3, 72
    folder = tmp_path_factory.mktemp("checkpoints")
    return save(folder, state, manifest=run.signed, tokenizer=run.tokenizer, cursor={})


def test_transformers_loads_it_and_gives_identical_logits_and_tokens(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    folder = export(checkpoint, tmp_path / "model")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ours = model_from_vector(run.signed.manifest.model, run.state().parameters).eval()
    own = load_tokenizer(run.tokenizer)
    for text in (text for texts in TEXTS.values() for text in texts):
        ids = tokenizer(text)["input_ids"]
        assert ids == own.encode(text)
        assert tokenizer.decode(ids) == text
        with torch.inference_mode():
            batch = torch.tensor([ids])
            assert torch.equal(model(input_ids=batch).logits, ours(input_ids=batch).logits)
    assert tokenizer.eos_token_id == own.end_id == model.config.eos_token_id
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert run.signed.digest in card
    assert "| steps | 3 of 20 |" in card


def test_nothing_is_overwritten_and_an_empty_folder_is_filled(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (export(checkpoint, tmp_path / "empty") / "config.json").is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"x")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        export(checkpoint, tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"], "nothing half made is left"


def test_bits_per_byte_are_those_of_every_token_predicted_once(run: Run) -> None:
    model = model_from_vector(run.signed.manifest.model, run.state().parameters)
    tokenizer = load_tokenizer(run.tokenizer)
    scores = evaluate(model, tokenizer, TEXTS, sequence_length=LENGTH)
    assert set(scores) == set(TEXTS)
    for language, texts in TEXTS.items():
        stream = [tokenizer.end_id]
        for text in texts:
            stream += [*tokenizer.encode(text), tokenizer.end_id]
        nats = 0.0
        for start in range(0, len(stream) - 1, LENGTH):  # one window at a time, no padding
            part = torch.tensor([stream[start : start + LENGTH + 1]])
            with torch.inference_mode():
                logs = model(input_ids=part[:, :-1]).logits.log_softmax(-1)
            nats -= float(logs.gather(-1, part[:, 1:, None]).sum())
        size = sum(len(text.encode()) for text in texts)
        score = scores[language]
        assert (score.bytes, score.tokens) == (size, len(stream) - 1)
        assert score.loss == pytest.approx(nats / (len(stream) - 1), rel=1e-5)
        assert score.bits_per_byte == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert model.training, "its mode is what it was"


def test_a_fixed_subset_takes_whole_documents_in_order(run: Run) -> None:
    model, tokenizer = run.accumulator(run.state()).model, load_tokenizer(run.tokenizer)
    texts = [f"Document {i} about bread and bees." for i in range(50)]
    some = evaluate(model, tokenizer, {"en": texts}, sequence_length=LENGTH, max_sequences=2)["en"]
    lengths = [len(text.encode()) for text in texts]
    assert some.bytes in {sum(lengths[:n]) for n in range(1, 8)}
    assert 2 * LENGTH <= some.tokens < 4 * LENGTH


def test_a_language_without_text_is_named(run: Run) -> None:
    model, tokenizer = run.accumulator(run.state()).model, load_tokenizer(run.tokenizer)
    with pytest.raises(DataError, match="no text in sw to evaluate on"):
        evaluate(model, tokenizer, {"sw": []}, sequence_length=LENGTH)


def test_sampled_text_is_repeatable_and_begins_with_the_prompt(run: Run) -> None:
    model, tokenizer = run.accumulator(run.state()).model, load_tokenizer(run.tokenizer)
    one, again, other = (sample_text(model, tokenizer, "The bees", seed=seed, max_tokens=12) for seed in (1, 1, 2))
    assert one == again != other
    assert one.startswith("The bees")
