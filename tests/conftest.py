"""Shared fixtures, and the order of tests. Tests that need the optional corpus skip, loudly, where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real peers come last and one after another: they keep deadlines, which other tests beside them would eat up.

    `make test` gives all others to several processes; one group goes to one of them, when nothing else is left.
    """
    items.sort(key=is_real)
    for item in filter(is_real, items):
        item.add_marker(pytest.mark.xdist_group("real"))


def is_real(item: pytest.Item) -> bool:
    return item.get_closest_marker("real") is not None


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder with train/<lang>.jsonl and validation/<lang>.jsonl in 21 languages; not part of the project."""
    if not (CORPUS / "train").is_dir():
        pytest.skip(f"no corpus at {CORPUS}: this test needs real text in 21 languages there")
    return CORPUS
