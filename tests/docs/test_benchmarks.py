"""docs/benchmarks.md names every benchmark there is, and `make bench` runs those that the page says it runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"(?m)^\| `python -m benchmarks\.(\w+)` \| [^|]+ \| (yes|longer) \|$", PAGE))
COMMANDS = {
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if re.search(r'(?m)^"""`python -m benchmarks\.\w+', path.read_text(encoding="utf-8"))
    and '__name__ == "__main__"' in path.read_text(encoding="utf-8")
}


def test_every_benchmark_stands_in_the_table() -> None:
    assert len(COMMANDS) >= 10
    assert set(ROWS) == COMMANDS


def test_make_bench_runs_what_the_table_says() -> None:
    listed = re.search(
        r"(?m)^bench: install\n\t@for name in ([a-z_ ]+);", (ROOT / "Makefile").read_text(encoding="utf-8")
    )
    assert listed is not None
    assert set(listed[1].split()) == {name for name, when in ROWS.items() if when == "yes"}
