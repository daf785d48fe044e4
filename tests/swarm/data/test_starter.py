"""The starter corpus: parallel, clean, and large enough in every language to train and evaluate on a laptop.

It is what a volunteer's first run reads without any download, so a language that is short, repeated or out of step
with the others would show up as a wrong mixture or as a validation loss that means nothing.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

import swarm

STARTER = Path(swarm.__file__).parent / "data" / "starter"
SPLITS = ("train", "validation")
SMALLEST_BYTES = {"train": 6144, "validation": 1024}
LANGUAGES = sorted(path.stem for path in (STARTER / "train").glob("*.jsonl"))
FILES = [(split, language) for split in SPLITS for language in LANGUAGES]

SCRIPTS = {
    "LATIN": "en es eu fr id pt sw vi yo",
    "ARABIC": "ar ur",
    "CJK": "zh",
    "DEVANAGARI": "hi mr",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
}
SCRIPT_OF = {language: script for script, languages in SCRIPTS.items() for language in languages.split()}


def read(split: str, language: str) -> list[dict[str, str]]:
    lines = (STARTER / split / f"{language}.jsonl").read_bytes().splitlines()
    return [json.loads(line.decode("utf-8")) for line in lines]


def main_script(text: str) -> str:
    """First word of the Unicode name of most letters: LATIN, CJK, TAMIL..."""
    names = (unicodedata.name(character, "?") for character in text if character.isalpha())
    return Counter(name.split()[0] for name in names).most_common(1)[0][0]


def test_there_are_enough_languages_and_scripts() -> None:
    assert len(LANGUAGES) >= 12
    assert len({main_script(" ".join(row["text"] for row in read("train", lang))) for lang in LANGUAGES}) >= 5


def test_both_splits_have_the_same_languages() -> None:
    assert sorted(path.stem for path in (STARTER / "validation").glob("*.jsonl")) == LANGUAGES


@pytest.mark.parametrize("split", SPLITS)
def test_documents_are_the_same_in_every_language(split: str) -> None:
    expected = [row["id"] for row in read(split, "en")]
    assert {lang: [row["id"] for row in read(split, lang)] for lang in LANGUAGES} == dict.fromkeys(LANGUAGES, expected)


@pytest.mark.parametrize(("split", "language"), FILES)
def test_file_is_well_formed(split: str, language: str) -> None:
    raw = (STARTER / split / f"{language}.jsonl").read_bytes()
    assert raw.endswith(b"}\n")
    assert b"\r" not in raw
    assert not raw.startswith(b"\xef\xbb\xbf")
    for row in read(split, language):
        assert set(row) == {"id", "text"}
        assert row["text"].strip() == row["text"] != ""
        assert unicodedata.is_normalized("NFC", row["text"])
        assert "\N{REPLACEMENT CHARACTER}" not in row["text"]


@pytest.mark.parametrize(("split", "language"), FILES)
def test_file_is_large_enough(split: str, language: str) -> None:
    assert sum(len(row["text"].encode()) for row in read(split, language)) >= SMALLEST_BYTES[split]


@pytest.mark.parametrize(("split", "language"), FILES)
def test_every_document_is_in_the_script_of_its_language(split: str, language: str) -> None:
    """Catches a document pasted into the wrong file and a passage left in English."""
    assert {row["id"]: main_script(row["text"]) for row in read(split, language)} == {
        row["id"]: SCRIPT_OF[language] for row in read(split, language)
    }


def test_no_document_appears_twice_in_any_language_or_split() -> None:
    texts = Counter(row["text"] for split, language in FILES for row in read(split, language))
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_document_is_in_both_splits() -> None:
    """A validation loss on text the model has trained on measures memory, not learning."""
    train, validation = ({row["id"] for row in read(split, "en")} for split in SPLITS)
    assert train & validation == set()
    for language in LANGUAGES:
        trained = "\n".join(row["text"] for row in read("train", language))
        assert [row["id"] for row in read("validation", language) if row["text"] in trained] == []


def test_readme_states_the_sizes_there_are() -> None:
    """Drift guard: whoever corrects a text learns here that the published table changed."""
    rows = [
        line.split("|") for line in (STARTER / "README.md").read_text("utf-8").splitlines() if line.startswith("| `")
    ]
    stated = {row[1].strip(" `"): (int(row[4]), int(row[5])) for row in rows}
    sizes = {
        lang: tuple(sum(len(row["text"].encode()) for row in read(split, lang)) for split in SPLITS)
        for lang in LANGUAGES
    }
    assert stated == sizes
