"""Write the dashboards' JSON: `python -m monitoring.dashboards.build` (needs the `dev` extra). A test compares."""

from __future__ import annotations

from pathlib import Path

from monitoring.dashboards.operator import OPERATOR
from monitoring.dashboards.panels import generate
from monitoring.dashboards.volunteer import VOLUNTEER

GENERATED = Path(__file__).parent / "generated"


def dashboards() -> dict[str, str]:
    """File name -> JSON text."""
    return {"operator.json": generate(OPERATOR), "volunteer.json": generate(VOLUNTEER)}


def main() -> None:
    for name, text in dashboards().items():
        (GENERATED / name).write_text(text, encoding="utf-8")
        print(GENERATED / name)


if __name__ == "__main__":
    main()
