"""The tokenizer: the same bytes everywhere, no text lost, no language forgotten, one line for a file that is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.data.sources import languages, texts_by_language
from swarm.data.tokenizer import BYTES_PER_LANGUAGE, SPECIAL, Tokenizer, _choose, load, train
from swarm.data.validation import read_validation
from swarm.errors import ConfigError, DataError, NetworkError
from swarm.run.schema import DataSpec, SourceSpec

STARTER = DataSpec(sources=(SourceSpec(kind="starter"),))
SIZE = 1024
AS_WRITTEN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}  # of an added token


@cache
def data() -> bytes:
    return train(texts_by_language(STARTER, None), SIZE)


@cache
def tokenizer() -> Tokenizer:
    return load(data())


def changed(**parts: Any) -> bytes:
    return json.dumps(json.loads(data()) | parts).encode()


@pytest.mark.parametrize(("seed", "threads"), [("1", "1"), ("2", "4")])
def test_training_gives_the_same_bytes_in_any_process(seed: str, threads: str) -> None:
    code = "from tests.swarm.data.test_tokenizer import tokenizer; print(tokenizer().digest)"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == tokenizer().digest


def test_every_language_comes_back_and_reports_its_rate() -> None:
    held_out = {code: [item.text for item in some] for code, some in read_validation(STARTER, None).items()}
    assert sorted(held_out) == list(languages(STARTER, None))
    for texts in held_out.values():
        for text, ids in zip(texts, tokenizer().encode_all(texts), strict=True):
            assert tokenizer().decode(ids) == text
            assert int(tokenizer().token_bytes[ids].sum()) == len(text.encode())
    rates = tokenizer().bytes_per_token(held_out)
    assert sorted(rates) == sorted(held_out)
    assert all(1 < rate < 8 for rate in rates.values()), rates
    short = sum(len(text.encode()) for text in held_out["en"]) / sum(map(len, tokenizer().encode_all(held_out["en"])))
    assert rates["en"] == short


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back_byte_for_byte(text: str) -> None:
    """Emoji, control characters, unassigned and private code points: byte level knows no unknown text."""
    ids = tokenizer().encode(text)
    assert tokenizer().decode(ids) == text
    assert int(tokenizer().token_bytes[ids].sum()) == len(text.encode())


def test_text_that_looks_like_a_special_token_is_text() -> None:
    text = "".join(SPECIAL) + " \U0001f469\u200d\U0001f52c\r\n\x00"
    ids = tokenizer().encode(text)
    assert tokenizer().decode(ids) == text
    assert not set(ids) & set(range(len(SPECIAL)))
    assert tokenizer().end_id == SPECIAL.index("</s>")
    assert not tokenizer().token_bytes[: len(SPECIAL)].any()


def test_an_added_token_counts_the_bytes_it_stands_for() -> None:
    added = [*json.loads(data())["added_tokens"], {"id": SIZE, "content": "…!", "special": False}]
    ours = load(changed(added_tokens=[AS_WRITTEN | token for token in added]))
    ids = ours.encode("a…!")
    assert ids[-1] == SIZE
    assert int(ours.token_bytes[ids].sum()) == len("a…!".encode())


def test_no_language_is_drowned_by_a_larger_one() -> None:
    """English has 50 times the text; still the words of the other language become tokens."""
    few = ["uhuru na umoja kwa wananchi wote"] * 40
    many = [f"the weather report number {number} speaks of wind and rain" for number in range(2000)]
    ours = load(train({"en": many, "sw": few}, 400))
    rates = ours.bytes_per_token({"en": many[:50], "sw": few})
    assert rates["sw"] > 0.8 * rates["en"], rates


def test_what_a_language_gives_is_bounded_and_from_all_over_its_text() -> None:
    chosen = _choose("en", (f"{number:09d} " * 20 for number in range(5000)), 20_000)
    numbers = [int(text[:9]) for text in chosen]
    assert 18_000 <= sum(map(len, chosen)) <= 20_000 < BYTES_PER_LANGUAGE
    assert numbers == sorted(numbers)
    assert all(any(low <= number < low + 500 for number in numbers) for low in range(0, 5000, 500))


def test_too_small_or_without_text_is_told() -> None:
    with pytest.raises(ConfigError, match="vocab_size 259 is too small"):
        train({"en": ["a"]}, 259)
    with pytest.raises(DataError, match="no text in sw to train a tokenizer on"):
        train({"en": ["a"], "sw": []}, 300)


def without_a_byte() -> bytes:
    value = json.loads(data())
    gone = "\u00f7"  # the byte 0xf7, which no valid UTF-8 holds: still 256 are promised
    value["model"]["vocab"].pop(gone)
    return json.dumps(value).encode()


def no_end() -> bytes:
    return data().replace(b'"</s>"', b'"<end>"')


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a tokenizer.json"),
    "not JSON": (lambda: b"{", "not a tokenizer.json"),
    "not UTF-8": (lambda: b"\xff\xfe", "not a tokenizer.json"),
    "a list": (lambda: b"[]", "not a tokenizer.json"),
    "cut": (lambda: data()[:-100], "not a tokenizer.json"),
    "not byte level": (lambda: changed(decoder=None, pre_tokenizer={"type": "Whitespace"}), "not a byte-level"),
    "no vocabulary": (lambda: changed(model={"type": "BPE", "vocab": {}, "merges": []}), "bytes are not in its"),
    "a byte missing": (without_a_byte, "1 of the 256 bytes are not in its vocabulary"),
    "a normalizer": (lambda: changed(normalizer={"type": "Lowercase"}), "alters text"),
    "compatibility forms": (lambda: changed(normalizer={"type": "NFKC"}), "alters text"),
    "no end of text": (no_end, "no end-of-text token"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_usable_tokenizer_is_one_line(name: str, tmp_path: Path) -> None:
    make, words = WRONG[name]
    path = tmp_path / "tokenizer.json"
    path.write_bytes(make())
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_by_path_and_the_checks_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data())
    for place in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        assert load(place).check(digest=tokenizer().digest, vocab_size=SIZE).digest == tokenizer().digest
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "none")
    with pytest.raises(
        ConfigError, match=f"the tokenizer has {SIZE} tokens, model.vocab_size is 500; set it to {SIZE}"
    ):
        tokenizer().check(vocab_size=500)
    with pytest.raises(ConfigError, match="is not the run's 0000000000000000; take"):
        tokenizer().check(digest="0" * 64)


def test_a_giant_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(DataError, match="a tokenizer has 67108864 at most"):
        load(tmp_path)


def test_a_hub_name_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match=r"^tokenizer nobody/nothing@v1: .*; check the network, or give a path$"):
        load("nobody/nothing@v1")
