"""`bloomswarm eval`: two checkpoints on the same text, as a person and as a program read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peers.cli import main
from swarm.data.tokenizer import load as load_tokenizer
from swarm.model.bloom import model_from_vector
from swarm.model.evaluation import evaluate
from swarm.state.checkpoint import save
from tests.peers.whole_swarm import LENGTH, Run

TEXTS = {"en": ["The garden is behind the school.", "Bread"], "sw": ["Bustani iko nyuma ya shule."]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def checkpoints(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of step 3, and of step 9, whose weights are others."""
    paths = []
    for step in (3, 9):
        state = run.state()
        state.step = step
        state.parameters[:] *= 1 + step / 10
        folder = tmp_path_factory.mktemp("checkpoints")
        paths.append(save(folder, state, manifest=run.signed, tokenizer=run.tokenizer, cursor={}))
    return paths


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for code, texts in TEXTS.items():
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"{code}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    main(["eval", *map(str, words)])
    return capsys.readouterr().out


def test_two_checkpoints_side_by_side_on_the_same_text(
    run: Run, checkpoints: list[Path], text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads(asked(capsys, *checkpoints, "--data", text, "--json", "--samples", 3))
    assert (result["checkpoint"]["step"], result["against"]["step"]) == (3, 9)
    assert result["checkpoint"]["run"] == run.signed.digest
    assert result["checkpoint"]["parameters"] != result["against"]["parameters"]
    assert {code: held["documents"] for code, held in result["text"]["languages"].items()} == {"en": 2, "sw": 1}
    for step, row in [(3, result["languages"]), (9, {c: r["against"] for c, r in result["languages"].items()})]:
        model = model_from_vector(run.signed.manifest.model, run.state().parameters * (1 + step / 10))
        own = evaluate(model, load_tokenizer(run.tokenizer), TEXTS, sequence_length=LENGTH)
        for code, score in own.items():
            assert row[code]["bits_per_byte"] == pytest.approx(score.bits_per_byte, rel=1e-5)
            assert row[code]["tokens_per_byte"] == score.tokens / score.bytes
    prompts = [(sample["checkpoint"], sample["prompt"]) for sample in result["samples"]]
    wanted = ["The garden is behind the", "Bustani iko nyuma ya shu", "Bread"]
    assert prompts == [(str(path), prompt) for path in checkpoints for prompt in wanted]


def test_the_table_says_the_difference_and_each_ones_text(
    checkpoints: list[Path], text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = asked(capsys, *checkpoints, "--data", text, "--samples", 1).splitlines()
    assert shown[0].split() == ["language", "loss", "bits/byte", "against", "difference", "tokens/byte", "bytes"]
    _, _, own, other, difference, *_ = shown[1].split()
    assert float(difference) == pytest.approx(float(own) - float(other), abs=0.0015)
    assert shown[-2].startswith(f"[en] {checkpoints[0]} The garden")
    assert shown[-1].startswith(f"[en] {checkpoints[1]} The garden")
    alone = asked(capsys, checkpoints[0], "--data", text / "en.jsonl").splitlines()
    assert [line.split()[0] for line in alone] == ["language", "en"]


def test_the_untrained_model_by_name(checkpoints: list[Path], text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads(asked(capsys, checkpoints[1], "initial", "--data", text, "--json"))
    assert result["against"]["step"] == 0


def test_mistakes_are_one_line_and_their_code(
    checkpoints: list[Path], text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for code, words in [
        (2, [checkpoints[0], checkpoints[1], "--against", "initial"]),
        (8, [tmp_path / "absent"]),
        (8, [checkpoints[0], tmp_path / "absent", "--data", text]),
        (4, [checkpoints[0], "--data", tmp_path / "empty"]),
    ]:
        with pytest.raises(SystemExit) as ended:
            asked(capsys, *words)
        assert ended.value.code == code
        shown = capsys.readouterr()
        assert len(shown.err.strip().splitlines()) == 1, shown.err
