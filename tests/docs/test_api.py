"""docs/api.md names every path and every field that the API gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "monitoring"))

from pretend_swarm import Pretend  # noqa: E402

from monitoring.api import FILES, api_routes  # noqa: E402
from monitoring.server import Request  # noqa: E402

TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path in api_routes(Pretend().watch) if path not in FILES])
def test_each_path_is_documented_with_its_fields(path: str) -> None:
    swarm = Pretend().run(5)
    swarm.seeds = False
    response = api_routes(swarm.run(1).watch)[path](Request({}))
    assert f"`{path}`" in TEXT
    if path.startswith("/api/"):
        value = json.loads(response.body)
        (rows,) = value.values() if len(value) == 1 else [[value]]
        assert rows
        assert not [field for field in rows[0] if f"`{field}`" not in TEXT]
