"""Arriving in a run with real networks: what lies on the owner's disk reaches everybody, by its digest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import BloomConfig, BloomForCausalLM

from peers.finding.arrival import arrive, offer
from peers.run_folder import WEIGHTS, RunFolder
from peers.wiring import initial_state
from swarm.data.tokenizer import train
from swarm.errors import CheckpointError, ConfigError, IncompatibleError
from swarm.network.host import Network
from swarm.run.link import Link
from swarm.run.manifest import SignedManifest
from swarm.trust.identity import Identity
from tests.peers.commands.test_cli import run
from tests.peers.commands.test_create import CONFIG

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BloomForCausalLM]:
    """A run that goes on from a model and a tokenizer on the owner's disk, which are gone by now."""
    folder = tmp_path_factory.mktemp("owner")
    (folder / "text").mkdir()
    for code, words in (
        ("en", "the quick brown fox jumps over the lazy dog "),
        ("eu", "kaixo mundua eta agur mundua "),
    ):
        (folder / "text" / f"{code}.txt").write_text(words * 40)
    model = BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=16, n_layer=1, n_head=2))
    model.save_pretrained(folder / "mine")
    (folder / "mine" / "tokenizer.json").write_bytes(train({"en": ["the quick brown fox"]}, 400))
    text = CONFIG.replace("layers = 1", 'layers = 1\ninitial_checkpoint = "mine"')
    text = text.replace('kind = "starter"', 'kind = "folder"\npath = "text"\nlicence = "CC0"')
    (folder / "mine.toml").write_text(text + '[tokenizer]\nsource = "./mine"\n')
    made = run("create", str(folder / "mine.toml"), "--dir", str(folder / "run"))
    assert made.returncode == 0, made.stderr
    shutil.rmtree(folder / "mine")
    return folder / "run", model


def test_the_manifest_names_no_place_on_the_owners_disk(adapted: tuple[Path, BloomForCausalLM]) -> None:
    manifest = RunFolder(adapted[0]).manifest().manifest
    assert (manifest.model.initial_checkpoint, manifest.tokenizer.source) == ("./mine", "./mine")


@pytest.fixture
def networks() -> Iterator[list[Network]]:
    started: list[Network] = []
    yield started
    for network in started:
        network.close()


def test_the_weights_come_from_the_seed_and_then_from_any_peer(
    adapted: tuple[Path, BloomForCausalLM], networks: list[Network], tmp_path: Path
) -> None:
    folder, model = adapted
    signed = RunFolder(folder).manifest()
    networks.append(Network(Identity.generate(), signed.digest, listen=LOOPBACK).start())
    offer(networks[0], signed, RunFolder(folder).tokenizer(), RunFolder(folder).weights())
    for number in (0, 1):  # the second arrives by way of the first, without the seed
        known = networks[number].addresses()
        networks.append(Network(Identity.generate(), signed.digest, listen=LOOPBACK, initial_peers=known).start())
        mine = tmp_path / f"peer-{number}"
        arrive(networks[-1], Link(signed.digest, tuple(known)), RunFolder(mine), lambda *told: None)
        networks[number].close()
        state = initial_state(mine, signed.manifest)
        assert (state.parameters == state.layout.gather(model)).all()


def test_weights_that_are_cut_or_changed_on_disk_are_named(
    adapted: tuple[Path, BloomForCausalLM], tmp_path: Path
) -> None:
    manifest = RunFolder(adapted[0]).manifest().manifest
    weights = (adapted[0] / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(weights[:-4])
    with pytest.raises(CheckpointError, match=r"initial.weights holds \d+ values, the model \d+; remove it"):
        initial_state(tmp_path, manifest)
    (tmp_path / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(IncompatibleError, match=r"initial weights from \./mine have digest"):
        initial_state(tmp_path, manifest)


@pytest.mark.parametrize("place", ["/home/you/model", "~/model", "../model", "./a/../../model", "./a/b"])
def test_a_signed_manifest_cannot_name_a_place_on_a_volunteers_disk(
    adapted: tuple[Path, BloomForCausalLM], place: str
) -> None:
    owner = Identity.load(adapted[0] / "owner.pem")
    manifest = RunFolder(adapted[0]).manifest().manifest
    model = manifest.model.model_copy(update={"initial_checkpoint": place})
    forged = SignedManifest.sign(manifest.model_copy(update={"model": model}), owner)
    with pytest.raises(ConfigError, match=r"model.initial_checkpoint: .* is a place on one machine"):
        SignedManifest.from_json(forged.to_json())
