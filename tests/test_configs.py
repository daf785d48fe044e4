"""Every file in configs/ is valid, and the BLOOM ones have the published dimensions."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from swarm.run.manifest import load_config
from swarm.run.sizing import parameters

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RUNS = sorted(path.stem for path in CONFIGS.glob("*.toml"))
BLOOM = {  # name: hidden size, layers, heads, parameters, learning rate, global batch (Le Scao et al. 2022, table 3)
    "bloom-560m": (1024, 24, 16, 559_214_592, 3.0e-4, 256),
    "bloom-1b1": (1536, 24, 16, 1_065_314_304, 2.5e-4, 256),
    "bloom-1b7": (2048, 24, 16, 1_722_408_960, 2.0e-4, 512),
    "bloom-3b": (2560, 30, 32, 3_002_557_440, 1.6e-4, 512),
    "bloom-7b1": (4096, 30, 32, 7_069_016_064, 1.2e-4, 512),
}


def test_they_are_all_here() -> None:
    assert set(RUNS) >= {"tiny", "small", *BLOOM}


@pytest.mark.parametrize("name", RUNS)
def test_a_configuration_is_valid_and_commented(name: str) -> None:
    path = CONFIGS / f"{name}.toml"
    config = load_config(path)
    assert config.name == name, "the run's name is the file's"
    assert config.description
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert sum("#" in line for line in text.splitlines()) >= 7, "a person reads this file"
    assert max(map(len, (line for line in text.splitlines() if "kind =" not in line))) <= 140
    assert all(source.licence != "unknown" for source in config.data.sources)


@pytest.mark.parametrize("name", sorted(BLOOM))
def test_the_bloom_architectures_are_as_published(name: str) -> None:
    hidden, layers, heads, count, learning_rate, batch = BLOOM[name]
    config = load_config(CONFIGS / f"{name}.toml")
    spec = config.model
    assert (spec.hidden_size, spec.layers, spec.heads) == (hidden, layers, heads)
    assert (spec.vocab_size, spec.sequence_length, spec.layer_norm_epsilon) == (250_880, 2048, 1e-5)
    assert parameters(spec) == count
    assert (config.optimizer.learning_rate, config.training.global_batch) == (learning_rate, batch)
    assert config.tokenizer.source == "bigscience/bloom"
    assert len(config.data.sources) >= 40
    for source in config.data.sources:
        assert source.kind == "huggingface"
        assert source.config == f"20231101.{source.language}"
        assert source.revision, "a data set that may change under a run"
    tokens = config.training.steps * batch * 2048
    assert tokens == pytest.approx(341e9, rel=0.01)


def test_tiny_needs_no_network_and_is_quick() -> None:
    config = load_config(CONFIGS / "tiny.toml")
    assert [source.kind for source in config.data.sources] == ["starter"]
    assert config.tokenizer.source is None
    assert parameters(config.model) < 1_500_000
    tokens = config.training.global_batch * config.model.sequence_length
    assert 4_000 <= tokens <= 8_200, "about 2 s a step at 2,850 tokens/s"


def test_toml_keys_are_not_repeated_by_accident() -> None:
    for name in RUNS:
        tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
