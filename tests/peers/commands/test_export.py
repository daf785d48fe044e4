"""`bloomswarm export`: the model card says what the run's records say; `--push` gives the folder to the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from peers.cli import main
from swarm.averaging.averager import Averaged, Member
from swarm.averaging.mean import FloatMean
from swarm.records import ProgressRecord
from swarm.release.model_card import model_card
from swarm.state.checkpoint import load, save
from swarm.state.chronicle import Chronicler
from tests.peers.whole_swarm import Run
from tests.swarm.release.hub_server import TOKEN, Hub, serving

NAMES = {"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def mean_of(run: Run) -> FloatMean:
    return FloatMean(run.state().parameters, 1024)


def record(joules: float, tokens: int, clock: float) -> ProgressRecord:
    return ProgressRecord(
        step=1, state="training", role="trainer", version="0.1.0", clock=clock, started=1.0,
        energy_joules={"gpu": joules}, carbon_grams=joules / 1000, tokens_by_language={"en": tokens},
    )  # fmt: skip


def chronicle(run: Run) -> dict[str, Any]:
    """Two rounds of two peers, of which one tells its energy."""
    seen = Chronicler(None, 1)
    mean = mean_of(run)
    for step in (1, 2):
        seen.round(Averaged(step, mean, (Member("a", 10, 10.0), Member("b", 2, 2.0), Member("helper", 0, 0.0))))
    seen.look({"a": record(5e6, 100, 10.0), "liar": record(0.0, 0, 10.0)})
    seen.look({"a": record(5e6 + 3.6e6, 600, 1010.0), "liar": record(9e17, 0, 1010.0)})
    return seen.to_dict()


def checkpoint(run: Run, folder: Path, **extra: Any) -> Path:
    state = run.state()
    state.step, state.samples = 3, 36
    return save(folder, state, manifest=run.signed, tokenizer=run.tokenizer, cursor={}, extra=extra)


def test_the_card_says_who_gave_and_what_it_took(run: Run, tmp_path: Path) -> None:
    card = model_card(load(checkpoint(run, tmp_path, chronicle=chronicle(run))))
    assert "| peers | 2 gave samples |" in card
    assert "| energy | 1 kWh (gpu 1), as 1 peers told; `machine` is an estimate |" in card
    assert "in 2 rounds from step 1 on" in card
    assert "| CO2 | 3,600 g," in card


def test_what_nobody_recorded_is_called_so(run: Run, tmp_path: Path) -> None:
    for kept in ({}, {"chronicle": {"rounds": "many"}}, {"chronicle": Chronicler(None, 3).to_dict()}):
        card = model_card(load(checkpoint(run, tmp_path, **kept)))
        for name in ("peers", "energy", "CO2"):
            assert f"| {name} | not recorded |" in card
        assert "## Evaluation\n\nNot recorded." in card
        assert "| Bloomswarm's starter corpus | en, fr | not recorded | not recorded |" in card
        header = yaml.safe_load(card.split("---")[1])
        assert header["language"] == ["en", "fr"]
        assert header["license"] == "apache-2.0"


def test_a_chronicle_goes_on_where_the_checkpoint_stopped(run: Run) -> None:
    kept = json.loads(json.dumps(chronicle(run)))
    again = Chronicler(kept, 3)
    again.round(Averaged(3, mean_of(run), (Member("c", 5, 5.0),)))
    again.look({"a": record(1e9, 10**6, 2000.0)})  # met anew: what it did meanwhile was not seen
    assert again.chronicle.peers == {"a", "b", "c"}
    assert (again.chronicle.rounds, again.chronicle.samples) == (3, 29)
    assert again.chronicle.joules == {"gpu": 3.6e6}
    assert again.chronicle.tokens == {"en": 500}


def test_the_evaluation_is_that_of_these_weights_or_it_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint(run, tmp_path / "checkpoints")
    main(["eval", str(path), "--limit", "1", "--json"])
    report = json.loads(capsys.readouterr().out)
    (tmp_path / "eval.json").write_text(json.dumps(report), encoding="utf-8")
    main(["export", str(path), "--to", str(tmp_path / "model"), "--evaluation", str(tmp_path / "eval.json")])
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert f"| fr | {report['languages']['fr']['bits_per_byte']:.4f} |" in card
    assert "the starter corpus (2 documents)" in card
    other = report | {"checkpoint": report["checkpoint"] | {"parameters": "0" * 64}}
    for value in (other, {}, [], "x", report | {"languages": {"en": {"bits_per_byte": -1}}}):
        (tmp_path / "bad.json").write_text(json.dumps(value), encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            main(["export", str(path), "--to", str(tmp_path / "no"), "--evaluation", str(tmp_path / "bad.json")])
        assert ended.value.code == 3
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        assert not (tmp_path / "no").exists()


def test_push_uploads_the_folder_byte_for_byte_and_privately(
    run: Run, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint(run, tmp_path / "checkpoints")
    main(["export", str(path), "--to", str(tmp_path / "model"), "--push", "me/many", "--json"])
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["commit"].startswith(f"{hub.endpoint}/me/many/commit/")
    assert hub.repos == {"me/many": True}
    written = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    assert hub.files == written
    assert set(written) >= NAMES
    assert hub.messages == ["Bloomswarm checkpoint step-00000003"]
    main(["export", str(path), "--to", str(tmp_path / "again"), "--push", "me/many", "--public"])
    assert hub.repos == {"me/many": True}, "one that exists keeps its visibility"
    main(["export", str(path), "--to", str(tmp_path / "third"), "--push", "me/open", "--public"])
    assert hub.repos["me/open"] is False


@pytest.mark.parametrize(
    ("repo", "token", "refuse", "code", "words", "written"),
    [
        ("../etc", TOKEN, {}, 3, "no repository's name", False),
        ("me/many", "hf_wrong", {}, 3, "hf auth login", False),
        ("me/many", "", {}, 3, "hf auth login", False),
        ("me/many", TOKEN, {"/create": 403}, 3, "is complete; upload it later: hf upload me/many", True),
        ("me/many", TOKEN, {"/commit/main": 500}, 7, "is complete; upload it later", True),
        ("me/many", TOKEN, {"/whoami-v2": 500}, 7, "could not", False),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    run: Run,
    hub: Hub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    repo: str,
    token: str,
    refuse: dict[str, int],
    code: int,
    words: str,
    written: bool,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.refuse = refuse
    path = checkpoint(run, tmp_path / "checkpoints")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(path), "--to", str(tmp_path / "model"), "--push", repo])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == code, error
    assert error.startswith("bloomswarm: ")
    assert words in error
    assert (tmp_path / "model").exists() is written
    assert token == "" or token not in error


def test_a_hub_that_is_not_there_is_a_network_error(
    run: Run, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    path = checkpoint(run, tmp_path / "checkpoints")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(path), "--to", str(tmp_path / "model"), "--push", "me/many"])
    assert ended.value.code == 7
    assert "Traceback" not in capsys.readouterr().err
