"""What a person gets wrong in a TOML file: each mistake is one line with the file, the path, the value, the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from swarm.errors import ConfigError
from swarm.run.manifest import Envelope, RunConfig, load_config, parse_config
from swarm.settings import Settings
from swarm.validation import FORMS, MAX_FILE_BYTES

TINY = """
name = "test-run"
[model]
vocab_size = 300
hidden_size = 16
layers = 2
heads = 2
sequence_length = 16
[[data.sources]]
kind = "starter"
[training]
steps = 20
global_batch = 4
"""


def refused(text: str | bytes, tmp_path: Path) -> str:
    path = tmp_path / "x.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 700
    return message.removeprefix(f"{path}: ")


def test_a_plain_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TINY)
    config = load_config(path)
    assert config.model.layers == 2
    assert config.optimizer.learning_rate == 1e-3
    assert config.data.sources[0].kind == "starter"


MISTAKES = [  # (what the file says, what a person wrote instead, what they are told)
    ("layers = 2", "layers = 'four'", "model.layers: 'four' is not a whole number; write a whole number such as 4"),
    ("layers = 2", "layers = 2.5", "model.layers: 2.5 is not a whole number; write a whole number such as 4"),
    ("layers = 2", "layers = true", "model.layers: true is not a whole number; write a whole number such as 4"),
    ("layers = 2", "layers = 0", "model.layers: 0 is below 1; write a number of at least 1"),
    (
        "layers = 2",
        "layers = 2026-01-31",
        "model.layers: '2026-01-31' is not a whole number; write a whole number such as 4",
    ),
    ("layers = 2", "layers = [2]", "model.layers: a list of 1 is not a whole number; write a whole number such as 4"),
    ("layers = 2", "layer = 2", "model.layer is an unknown key; did you mean layers?; model.layers is missing; add it"),
    ("layers = 2", "", "model.layers is missing; add it"),
    ("heads = 2", "heads = 5", "model: hidden_size 16 is not a multiple of heads 5; use heads = 4"),
    ('name = "test-run"', 'name = "test-run"\nlayers = 3', "layers is an unknown key here; it belongs to model.layers"),
    ('name = "test-run"', 'name = "My Run"', "name: 'My Run' has the wrong form; write at most 63 lower-case letters"),
    ('name = "test-run"', "name = 7", 'name: 7 is not text; write it in quotes, such as "en"'),
    (
        'name = "test-run"',
        'name = "test-run"\ntokenizer = 4',
        "tokenizer: 4 is not a table; write a [section] with its own",
    ),
    (
        "vocab_size = 300",
        "vocab_size = 258",
        "model.vocab_size 258 cannot hold 256 bytes and 4 special tokens; use 4096",
    ),
    ("[training]", "[trainings]", "trainings is an unknown key; did you mean training?; training is missing; add it"),
    ("steps = 20", "steps = 10", "optimizer.warmup_steps 10 is not less than training.steps 10; use warmup_steps = 1"),
    ("steps = 20", "steps = 99999999999999999999999", "training.steps: a huge number is"),
    (
        "[training]",
        "[optimizer]\nlearning_rate = nan\n[training]",
        "optimizer.learning_rate: nan is not a finite number",
    ),
    (
        "[training]",
        "[optimizer]\nlearning_rate = -1\n[training]",
        "optimizer.learning_rate: -1 is not above 0; write a number ab",
    ),
    (
        "[training]",
        "[optimizer]\nlearning_rate = '1e-3'\n[training]",
        "'1e-3' is not a number; write a number such as 0.001, wi",
    ),
    (
        "[training]",
        "[optimizer]\nlearning_rat = 1\n[training]",
        "optimizer.learning_rat is an unknown key; did you mean learning",
    ),
    ("[training]", "[optimizer]\nbeta2 = 1\n[training]", "optimizer.beta2: 1 is not below 1; write a number below 1"),
    (
        "[training]",
        "[averaging]\nspan_size = 70000\n[training]",
        "averaging: span_size 70000 is not a multiple of 1024; use 69632",
    ),
    (
        "[training]",
        "[averaging]\ncodec = 'int8'\n[training]",
        "averaging.codec: 'int8' has the wrong form; write name@version",
    ),
    (
        "[training]",
        "[tokenizer]\ndigest = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n[training]",
        "tokenizer.digest is filled in by `create`; leave it out",
    ),
    (
        "layers = 2",
        "layers = 2\ninitial_checkpoint = 'bigscience/bloom-560m'",
        "set tokenizer.source to that model's, such as \"big",
    ),
    ('kind = "starter"', "kind = 'starer'", "data.sources[0].kind: 'starer' is not one of 'starter', 'jsonl', 'text'"),
    (
        'kind = "starter"',
        "kind = \"starter\"\nlanguage = 'en'",
        "data.sources[0]: kind = 'starter' holds several languages; write languages =",
    ),
    (
        'kind = "starter"',
        "kind = \"starter\"\npath = '/x'",
        "data.sources[0]: the starter corpus is part of the package; leave out path",
    ),
    (
        'kind = "starter"',
        "kind = \"starter\"\nlanguages = ['english']",
        "languages[0]: 'english' has the wrong form; write a language code such",
    ),
    (
        'kind = "starter"',
        "kind = \"starter\"\nlanguages = ['en', 'en']",
        "data.sources[0]: languages names 'en' twice; name each once",
    ),
    (
        'kind = "starter"',
        "kind = \"starter\"\nlanguages = 'en'",
        "data.sources[0].languages: 'en' is not a list; write a list such as",
    ),
    (
        'kind = "starter"',
        'kind = "starter"\nlanguages = []',
        "data.sources[0].languages: a list of 0 is too short; at least 1 needed",
    ),
    (
        'kind = "starter"',
        "kind = \"starter\"\nlanguagess = ['en']",
        "data.sources[0].languagess is an unknown key; did you mean languages?",
    ),
    (
        'kind = "starter"',
        "kind = \"starter\"\nrevision = 'main'",
        "config and revision are for kind = 'huggingface', not 'starter'; leave",
    ),
    ('kind = "starter"', "kind = 'jsonl'", "data.sources[0]: kind = 'jsonl' needs a path; add path"),
    (
        'kind = "starter"',
        "kind = 'jsonl'\npath = 'a.jsonl'",
        "data.sources[0]: kind = 'jsonl' holds one language; add language",
    ),
    (
        'kind = "starter"',
        'kind = "starter"\n[[data.sources]]\nkind = "starter"',
        "data: sources[1] reads the same text as sources[0]; remove one",
    ),
    ("[[data.sources]]", "[data.sources]", "data.sources: a table of 1 is not a list; write a list such as"),
]


@pytest.mark.parametrize(("old", "new", "words"), MISTAKES)
def test_a_mistake_is_told_with_path_value_and_remedy(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in TINY
    assert words in refused(TINY.replace(old, new, 1), tmp_path)


FILES = {
    "empty": (b"", "name is missing; add it; model is missing; add it; data is missing; add it; and 1 more"),
    "no toml": (b"name = test\n", "not TOML: Invalid value (at line 1, column 8); text needs quotes"),
    "not utf-8": (TINY.encode("utf-16"), "is not UTF-8; save the file as UTF-8"),
    "nested": (b"a = " + b"[" * 5000, "nested too deeply"),
    "digits": (b"a = " + b"9" * 5000, "not TOML: "),
    "huge": (b"#" * (MAX_FILE_BYTES + 1), "a configuration is a small TOML file"),
    "binary": (bytes(range(256)), "UTF-8"),
    "key with control characters": (TINY.encode() + b'"\\u001b[31m\\n" = 1', "is an unknown key"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_that_is_no_configuration(name: str, tmp_path: Path) -> None:
    data, words = FILES[name]
    message = refused(data, tmp_path)
    assert words in message
    assert message.isprintable()


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    for path, words in [
        (tmp_path / "none.toml", "there is no such file"),
        (tmp_path, "cannot be read"),
        ("\0", "be read"),
    ]:
        with pytest.raises(ConfigError, match=words):
            load_config(path)


@given(st.dictionaries(st.text(max_size=9), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=8,
)))  # fmt: skip
def test_nothing_but_a_swarm_error_comes_of_any_values(values: dict[str, Any]) -> None:
    names = list(RunConfig.model_fields)
    for candidate in (values, dict(zip(names, values.values()))):
        with pytest.raises(ConfigError) as error:  # no random value is a configuration
            parse_config(candidate, "x.toml")
        assert str(error.value).isprintable()
        assert str(error.value).startswith("x.toml: ")


def test_every_pattern_has_its_words() -> None:
    """A person is told what to write, never a regular expression."""
    patterns = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            patterns.update({schema["pattern"]} if isinstance(schema.get("pattern"), str) else set())
            patterns.update(schema.get("patternProperties", {}))
        for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            walk(inner)

    models: list[type[BaseModel]] = [Envelope, Settings]
    for model in models:
        walk(model.model_json_schema())
    assert patterns == set(FORMS), "swarm/validation.py FORMS and the patterns in use differ"
    assert all(re.compile(pattern) for pattern in FORMS)


def test_values_are_frozen(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TINY)
    config = load_config(path)
    with pytest.raises(ValueError, match="frozen"):
        config.name = "b"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        config.model.layers = 3  # type: ignore[misc]
