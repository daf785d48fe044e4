"""The generated dashboards against Grafana's own TypeScript types, and through the SDK's reader and back.

No Grafana server renders them here (docs/monitoring.md says so). What can be checked without one: names and types of
every field that `@grafana/schema` types, and that Grafana's SDK reads back each field that we write.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monitoring.dashboards.operator import OPERATOR
from monitoring.dashboards.panels import Dashboard
from monitoring.dashboards.volunteer import VOLUNTEER
from monitoring.validate import GENERATED

SCHEMA, TYPESCRIPT = "@grafana/schema@13.2.3", "typescript@5"
OPTIONS = {"target": "es2022", "module": "esnext", "moduleResolution": "bundler", "strict": True, "skipLibCheck": True}
FILES = sorted(GENERATED.glob("*.json"))

# A literal assigned to a type is checked for unknown keys too; JSON imported from a file would not be.
# `Plain`: JSON holds the text of an enum and not its member.
CHECK = """import {{ Dashboard, Panel, RowPanel }} from '@grafana/schema';
type Plain<T> = T extends string ? `${{T}}` : T extends Array<infer U> ? Plain<U>[]
  : T extends object ? {{ [K in keyof T]: Plain<T[K]> }} : T;
const panels: Array<Plain<Panel> | Plain<RowPanel>> = {panels};
const dashboard: Plain<Dashboard> = {dashboard};
export {{ dashboard, panels }};
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the schema and the compiler; skips where npm or its registry cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: apt-get install npm")
    folder = tmp_path_factory.mktemp("schema")
    (folder / "package.json").write_text('{"private": true}')
    (folder / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": OPTIONS | {"noEmit": True}, "include": ["*.ts"]})
    )
    wanted = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps", SCHEMA]
    done = subprocess.run([*wanted, TYPESCRIPT], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {SCHEMA}: {(done.stderr or done.stdout)[-300:]}")
    return folder


def compile_dashboard(folder: Path, value: dict[str, Any]) -> str:
    """What `tsc --noEmit` says about the dashboard; empty where it has no complaint."""
    rest = {key: item for key, item in value.items() if key != "panels"}
    (folder / "check.ts").write_text(CHECK.format(panels=json.dumps(value["panels"]), dashboard=json.dumps(rest)))
    compiler = folder / "node_modules" / ".bin" / "tsc"
    return subprocess.run([compiler, "--noEmit"], cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_typescript_schema_has_no_complaint_and_would_have_one(file: Path, project: Path) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    assert compile_dashboard(project, value) == ""
    wrong = json.loads(file.read_text(encoding="utf-8"))
    wrong["panels"][1]["titel"] = wrong["panels"][1].pop("title")
    assert "titel" in compile_dashboard(project, wrong), "a misspelt key must not pass"
    value["refresh"] = 10
    assert "refresh" in compile_dashboard(project, value) or "number" in compile_dashboard(project, value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_sdk_reads_back_every_field(file: Path) -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="needs grafana-foundation-sdk (the dev extra)")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    written = json.loads(file.read_text(encoding="utf-8"))
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(written)))
    assert lost(written, again) == []


def lost(written: Any, again: Any, path: str = "") -> list[str]:
    """Where `again` lacks or changes what was written; what it adds are defaults."""
    if isinstance(written, dict):
        if not isinstance(again, dict):
            return [path]
        return [where for key, item in written.items() for where in lost(item, again.get(key), f"{path}/{key}")]
    if isinstance(written, list):
        if not isinstance(again, list) or len(again) != len(written):
            return [path]
        return [
            where for at, pair in enumerate(zip(written, again, strict=True)) for where in lost(*pair, f"{path}/{at}")
        ]
    return [] if written == again else [f"{path}: {written!r} became {again!r}"]


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    for file in FILES:
        panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
        assert sorted(panel["id"] for panel in panels) == list(range(1, len(panels) + 1))
        cells: dict[tuple[int, int], str] = {}
        for panel in panels:
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    assert x < 24
                    assert (x, y) not in cells, f"{file.stem}: {panel['title']} covers {cells.get((x, y))}"
                    cells[x, y] = panel["title"]


@pytest.mark.parametrize("dashboard", [OPERATOR, VOLUNTEER], ids=lambda each: each.uid)
def test_every_panel_says_what_it_is_and_no_line_in_it_is_nameless(dashboard: Dashboard) -> None:
    panels = [panel for row in dashboard.rows for panel in row.panels]
    titles = [panel.title for panel in panels]
    assert len(set(titles)) == len(titles), "two panels of one name cannot be told apart in a message"
    for panel in panels:
        assert len(panel.description) > 10, panel.title
        for query in panel.queries:
            assert query.legend, panel.title
            assert not query.expr.endswith("or vector(0)"), f"{panel.title}: a series without labels beside the others"
