"""Shared fixtures, and the order of tests. Tests that need the optional corpus skip, loudly, where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real peers, and what measures, come last and one after another: others beside them would eat up their time.

    `make test` deals all other tests out to a process a core; a group goes to one of them, when nothing else is left.
    """
    items.sort(key=stands_alone)
    for item in filter(stands_alone, items):
        item.add_marker(pytest.mark.xdist_group("alone"))


def stands_alone(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("real", "slow", "alone"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder with train/<lang>.jsonl and validation/<lang>.jsonl in 21 languages; not part of the project."""
    if not (CORPUS / "train").is_dir():
        pytest.skip(f"no corpus at {CORPUS}: this test needs real text in 21 languages there")
    return CORPUS
