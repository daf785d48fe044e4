"""docs/exit-codes.md and swarm/errors.py say the same: no code without a paragraph, no paragraph without a code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from swarm import errors
from swarm.errors import INTERRUPTED, SwarmError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "exit-codes.md").read_text(encoding="utf-8")
SECTIONS = {
    int(code): (title, body)
    for code, title, body in re.findall(r"^## (\d+): (.+)\n\n((?:(?!## ).*\n?)+)", PAGE, flags=re.MULTILINE)
}
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SwarmError)]
BY_CLICK = 2  # click's own code for a wrong command line


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert not {0, BY_CLICK, INTERRUPTED} & set(codes)


def test_the_page_has_exactly_these_codes_in_order() -> None:
    assert list(SECTIONS) == sorted({0, BY_CLICK, INTERRUPTED} | {kind.exit_code for kind in CLASSES})


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_section_names_its_error_its_causes_and_the_remedy(kind: type[SwarmError]) -> None:
    title, body = SECTIONS[kind.exit_code]
    assert f"`{kind.__name__}`" in title
    words = " ".join(body.split())
    assert "Common causes: " in words
    assert "Resolve: " in words
    assert body.strip().count("\n\n") == 0, "one paragraph"
