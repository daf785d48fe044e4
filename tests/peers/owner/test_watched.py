"""Whoever looks on goes by the swarm's step and by the version of the run that counts there, whatever a liar claims."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from monitoring.api import Watch
from monitoring.monitor_exporter import MonitorExporter
from monitoring.view.document import swarm_document
from monitoring.view.facts import facts_of
from peers.commands.seed import say_step
from peers.owner.amendments import Amendments
from peers.owner.watched import WatchedVersions, step_of
from peers.telling.events import Events
from swarm.records import ProgressRecord
from swarm.run.amendment import Amendment, amend, with_changes
from swarm.run.manifest import LanguageStock, RunConfig, SignedManifest, parse_config, resolve
from swarm.trust.identity import Identity

OWNER = Identity.generate()
STOCK = LanguageStock(documents=1, text_bytes=1000, tokens=320, sequences=10, digest="0" * 64)
PEERS = [Identity.generate().peer_id for _ in range(3)]


def config(languages: tuple[str, ...] = ("en",), steps: int = 40) -> RunConfig:
    value: dict[str, Any] = {
        "name": "amended",
        "model": {"vocab_size": 300, "hidden_size": 16, "layers": 1, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "starter", "languages": list(languages)}]},
        "training": {"steps": steps, "global_batch": 8},
        "optimizer": {"warmup_steps": 2},
    }
    return parse_config(value, "the test")


@pytest.fixture(scope="module")
def signed() -> SignedManifest:
    known = {"owner": OWNER.peer_id, "created": "2026-01-31", "tokenizer_digest": "1" * 64, "initial_digest": "2" * 64}
    return SignedManifest.sign(resolve(config(), stock={"en": STOCK}, **known), OWNER)


def longer(signed: SignedManifest) -> Amendment:
    """From step 30 on the run has 80 steps and Swahili."""
    stock = dict.fromkeys(("en", "sw"), STOCK)
    manifest = with_changes(signed.manifest, config(("en", "sw"), 80), stock)
    return amend(signed.manifest, (), manifest, 30, OWNER)


def records(step: int) -> dict[str, ProgressRecord]:
    told = {"step": step, "state": "training", "role": "trainer", "version": "0.1.0", "total_samples": 8 * step}
    return {peer: ProgressRecord(**told, loss=5.0, tokens_by_language={"en": 99}) for peer in PEERS}


def test_an_amended_run_is_judged_by_the_version_that_counts_at_its_step(
    signed: SignedManifest, tmp_path: Path
) -> None:
    watch = Watch(facts_of(signed, "bloomswarm:x"), clock=lambda: 1_700_000_000.0)
    exporter = MonitorExporter(watch)
    versions = WatchedVersions(tmp_path, signed.manifest, watch)
    network: Any = None  # nobody needs to be asked: the amendment is in the folder
    assert not versions.look(network, records(20))
    Amendments(tmp_path, signed.manifest).keep(longer(signed))
    versions.amendments.read()
    assert not versions.look(network, records(29)), "known, but not yet"
    watch.look(records(29))
    assert versions.look(network, records(30))
    exporter.amended()
    assert (watch.view.facts.steps, sorted(watch.view.facts.planned)) == (80, ["en", "sw"])
    assert exporter.series.sets["language"] == ("en", "sw", "other")
    for step in (39, 40, 60):  # past the end of the first version
        versions.look(network, records(step))
        watch.look(records(step))
    told = watch.read(swarm_document)
    assert (told["step"], told["steps"], told["finished"]) == (60, 80, False)
    assert watch.view.checked.implausible == {}


def test_a_monitor_that_comes_when_the_swarm_is_past_the_first_version_s_end_finds_its_step(
    signed: SignedManifest, tmp_path: Path
) -> None:
    Amendments(tmp_path, signed.manifest).keep(longer(signed))
    watch = Watch(facts_of(signed, "bloomswarm:x"))
    network: Any = None
    assert WatchedVersions(tmp_path, signed.manifest, watch).look(network, records(60))
    watch.look(records(60))
    assert watch.read(swarm_document)["step"] == 60


def test_the_seed_s_line_has_the_step_and_loss_that_most_are_at(signed: SignedManifest) -> None:
    told = records(20)
    told[PEERS[0]] = told[PEERS[0]].model_copy(update={"step": 39, "loss": 0.01})
    step = step_of(signed.manifest, (), told.values())
    stream = io.StringIO()
    events = Events("json", stream=stream)
    assert say_step(told, step, 40, -1, events) == 20
    assert say_step(told, step, 40, 20, events) == 20, "said once"
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["words"] == "step 20/40  3 peers  loss 5.000"
