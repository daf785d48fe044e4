"""What the pages and the code say is somewhere is there, and the README's tour leaves no room of the tree out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"configs/my-run-with-swahili.toml"}  # files that a reader would make
OURS = "swarm|peers|monitoring|benchmarks|tests|configs|docs"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]  # the changelog names what was there then
SOURCES = [
    path for package in ("swarm", "peers", "monitoring", "benchmarks") for path in (ROOT / package).rglob("*.py")
]
README = PAGES[0].read_text(encoding="utf-8")


def paths_in(text: str) -> set[str]:
    """Those that begin at one of our top folders."""
    return set(re.findall(rf"(?<![\w/.\-])((?:{OURS})/[\w./\-]*\w)", text)) - EXAMPLES


def rooms(package: str) -> set[str]:
    return {f"{package}/{path.parent.name}/" for path in (ROOT / package).glob("*/*.py")}


def test_paths_are_recognised() -> None:
    text = "see `swarm/run/`, peers/cli.py. Not: https://x.org/docs/a, my/swarm/b; configs/my-run-with-swahili.toml"
    assert paths_in(text) == {"swarm/run", "peers/cli.py"}
    assert len(SOURCES) > 200
    assert len(PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not sorted(path for path in paths_in(text) if not (ROOT / path).exists())
    modules = set(re.findall(r"python3? -m ((?:swarm|peers|monitoring|benchmarks|tests)[\w.]*\w)", text))
    places = [ROOT / module.replace(".", "/") for module in modules]
    assert not [place for place in places if not (place.with_suffix(".py").is_file() or place.is_dir())]


def test_the_code_names_only_what_is_there() -> None:
    missing = {
        (source.relative_to(ROOT).as_posix(), path)
        for source in SOURCES
        for path in paths_in(source.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }
    assert not missing


@pytest.mark.parametrize("package", ["swarm", "peers"])
def test_the_tour_has_every_room_and_no_other(package: str) -> None:
    tour = README[README.index("## What is where") :]
    named = {path for path in re.findall(rf"`({package}/[\w/]+/)`", tour) if path.count("/") == 2}
    assert named == rooms(package)
