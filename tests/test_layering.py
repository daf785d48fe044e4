"""The import rules of the project, read from the source: who may import whom, and what stays torch-free."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {"swarm": {"swarm"}, "monitoring": {"monitoring", "swarm"}, "peers": {"peers", "monitoring", "swarm"}}
ONLY_IN = {
    "hivemind": ("swarm/network/", "swarm/averaging/"),
    "libp2p": ("monitoring/prober",),
    "click": ("peers/cli", "peers/commands/", "peers/demo/"),
    "prometheus_client": ("monitoring/",),
}
TORCH_FREE = [
    "swarm.errors",
    "swarm.canonical",
    "swarm.trust.identity",
    "swarm.run.manifest",
    "swarm.settings",
    "swarm.run.link",
    "swarm.records",
    "swarm.run.sizing",
    "swarm.data.plan",
    "swarm.data.mixture",
    "peers.cli",
    "peers.demo",
    "monitoring.metrics",
    "monitoring.exporter",
    "monitoring.api",
    "monitoring.monitor_exporter",
    "monitoring.outside",
]


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_packages_import_only_what_stands_below_them(package: str) -> None:
    assert sources(package), f"{package}/ holds no Python files"
    for path in sources(package):
        for name in imported(path):
            top = name.split(".")[0]
            if top in ALLOWED:
                assert top in ALLOWED[package], f"{path.relative_to(ROOT)} imports {name}: {package} may not"


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_imported_only_where_it_is_adapted(library: str) -> None:
    for package in ALLOWED:
        for path in sources(package):
            if library in {name.split(".")[0] for name in imported(path)}:
                place = path.relative_to(ROOT).as_posix()
                assert place.startswith(ONLY_IN[library]), f"{place} imports {library}; only {ONLY_IN[library]} may"


def test_no_pickle_and_no_eval() -> None:
    for package in ALLOWED:
        for path in sources(package):
            assert not {"pickle", "dill", "cloudpickle"} & {name.split(".")[0] for name in imported(path)}, path
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in {"eval", "exec"}, f"{path}:{node.lineno} calls {node.func.id}"


def test_manifest_command_line_and_monitoring_import_without_torch() -> None:
    code = f"import importlib, sys\nfor name in {TORCH_FREE!r}:\n    importlib.import_module(name)\n"
    code += "assert not {'torch', 'hivemind', 'transformers', 'libp2p'} & set(sys.modules), sorted(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr[-500:]
