"""Shared fixtures. Tests that need the optional corpus beside the checkout skip, loudly, where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder with train/<lang>.jsonl and validation/<lang>.jsonl in 21 languages; not part of the project."""
    if not (CORPUS / "train").is_dir():
        pytest.skip(f"no corpus at {CORPUS}: this test needs real text in 21 languages there")
    return CORPUS
