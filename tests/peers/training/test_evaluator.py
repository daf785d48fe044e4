"""The evaluator's turn: measured on the state as it was, beside whatever the peer does next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from peers.training.evaluator import Evaluator, Validation
from swarm.data.held_out import HeldOut, evaluators, held_out
from swarm.data.tokenizer import load as load_tokenizer
from swarm.errors import DataError
from swarm.model.bloom import model_from_vector
from swarm.model.evaluation import bits_per_byte
from swarm.run.manifest import Manifest, SignedManifest
from tests.peers.whole_swarm import LENGTH, Run

PEERS = ("one", "two", "three")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = Run.make(tmp_path_factory.mktemp("cache"))
    training = made.signed.manifest.training.model_copy(update={"validate_every": 5})
    manifest = made.signed.manifest.model_copy(update={"training": training})
    return Run(SignedManifest(manifest, made.signed.signature), made.tokenizer, made.cache)


@pytest.fixture(scope="module")
def text(run: Run) -> HeldOut:
    found = held_out(run.signed.manifest.data, None, load_tokenizer(run.tokenizer), sequence_length=LENGTH, sequences=2)
    assert found is not None
    return found


def made(run: Run, text: HeldOut | None, peer: str, told: list[Validation], said: list[str]) -> Evaluator:
    return Evaluator(
        run.signed,
        load_tokenizer(run.tokenizer),
        lambda version: text,
        version_at=lambda step: run.signed.manifest,
        peer_id=peer,
        device=torch.device("cpu"),
        told=told.append,
        say=said.append,
    )


def finished(evaluator: Evaluator) -> None:
    if evaluator.thread is not None:
        evaluator.thread.join(30)
        assert not evaluator.thread.is_alive()


def test_it_measures_the_state_of_its_step_though_the_state_moves_on(run: Run, text: HeldOut) -> None:
    told: list[Validation] = []
    said: list[str] = []
    state = run.state()
    state.step = 5
    turn = evaluators(run.signed.digest, 5, PEERS)
    peers = {peer: made(run, text, peer, told, said) for peer in PEERS}
    for evaluator in peers.values():
        evaluator.consider(state, PEERS)
    state.parameters[:] = np.nan
    state.step = 6
    for evaluator in peers.values():
        finished(evaluator)
    assert len(turn) == len(told) == 2, said
    assert [peer for peer in PEERS if peers[peer].thread is not None] == sorted(turn, key=PEERS.index)
    model = model_from_vector(run.signed.manifest.model, run.state().parameters)
    bytes_ = load_tokenizer(run.tokenizer).token_bytes
    for found in told:
        assert (found.step, found.text) == (5, text.digest)
        assert found.bits_per_byte == {code: bits_per_byte(model, part, bytes_) for code, part in text.windows.items()}


@pytest.mark.parametrize("step", [0, 3])
def test_between_turns_nothing_is_computed(run: Run, text: HeldOut, step: int) -> None:
    state = run.state()
    state.step = step
    evaluator = made(run, text, "one", [], [])
    evaluator.consider(state, ("one",) if step else ())
    assert evaluator.thread is None


def test_a_peer_without_validation_text_leaves_its_turn_out(run: Run) -> None:
    state = run.state()
    state.step = 5
    told: list[Validation] = []
    evaluator = made(run, None, "one", told, [])
    evaluator.consider(state, ("one",))
    finished(evaluator)
    before = evaluator.thread
    evaluator.consider(state, ("one",))
    assert evaluator.thread is before, "it is not looked for again"
    assert told == []


def test_text_that_cannot_be_read_is_said_once(run: Run) -> None:
    def unreadable(version: Manifest) -> HeldOut | None:
        raise DataError("fr.jsonl, line 3: no JSON")

    said: list[str] = []
    evaluator = made(run, None, "one", [], said)
    evaluator.opened = unreadable
    state = run.state()
    state.step = 5
    for _ in range(2):
        evaluator.consider(state, ("one",))
        finished(evaluator)
    assert said == ["Held-out text is not measured by this peer: fr.jsonl, line 3: no JSON"]


def test_after_an_amendment_its_languages_are_measured_from_its_step_on(run: Run) -> None:
    first = run.signed.manifest
    sources = (first.data.sources[0].model_copy(update={"languages": ("en", "fr", "sw")}),)
    stock = {**first.data.stock, "sw": first.data.stock["en"]}
    data = first.data.model_copy(update={"sources": sources, "stock": stock})
    second = first.model_copy(update={"data": data})
    told: list[Validation] = []
    tokenizer = load_tokenizer(run.tokenizer)
    evaluator = Evaluator(
        run.signed,
        tokenizer,
        lambda version: held_out(version.data, None, tokenizer, sequence_length=LENGTH, sequences=2),
        version_at=lambda step: second if step >= 10 else first,
        peer_id="one",
        device=torch.device("cpu"),
        told=told.append,
        say=print,
    )
    state = run.state()
    for state.step in (5, 10, 15):
        evaluator.consider(state, ("one",))
        finished(evaluator)
    assert [(found.step, sorted(found.bits_per_byte)) for found in told] == [
        (5, ["en", "fr"]), (10, ["en", "fr", "sw"]), (15, ["en", "fr", "sw"]),
    ]  # fmt: skip
    assert told[0].text != told[1].text == told[2].text


def test_a_state_that_is_broken_is_said_and_the_peer_goes_on(run: Run, text: HeldOut, tmp_path: Path) -> None:
    told: list[Validation] = []
    said: list[str] = []
    state = run.state()
    state.step = 5
    state.parameters[:] = np.nan
    evaluator = made(run, text, "one", told, said)
    evaluator.consider(state, ("one",))
    finished(evaluator)
    assert told == []
    assert "not measured at step 5" in said[0]


def test_who_leaves_does_not_wait_for_the_rest_of_the_text(run: Run, text: HeldOut) -> None:
    told: list[Validation] = []
    state = run.state()
    state.step = 5
    many = HeldOut({code: np.repeat(part, 100_000, axis=0) for code, part in text.windows.items()}, text.digest)
    evaluator = made(run, many, "one", told, [])
    evaluator.consider(state, ("one",))
    evaluator.close()
    assert evaluator.thread is not None
    assert not evaluator.thread.is_alive()
    assert told == []
