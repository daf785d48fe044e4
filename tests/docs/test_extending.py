"""docs/extending.md builds a codec and an aggregator: its own code is run, through the contract and the benchmark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swarm.averaging.aggregator import aggregator_named
from swarm.averaging.codec import codec_named
from swarm.errors import IncompatibleError
from tests.swarm.averaging.codec.contract import AGGREGATOR_RULES, CODEC_RULES

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), flags=re.DOTALL
)
SOURCE = "\n".join(BLOCKS[:2])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The page's classes, imported from a module made of its first two blocks."""
    import importlib.util

    path = tmp_path_factory.mktemp("page") / "page.py"
    path.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


@pytest.mark.parametrize("rule", CODEC_RULES, ids=lambda rule: rule.__name__)
def test_the_codec_keeps_every_rule(rule: Any, built: dict[str, Any]) -> None:
    rule(built["Int4Block"]())


@pytest.mark.parametrize("rule", AGGREGATOR_RULES, ids=lambda rule: rule.__name__)
def test_the_aggregator_keeps_every_rule(rule: Any, built: dict[str, Any]) -> None:
    rule(built["TrimmedMean"]())


def test_what_is_not_in_the_registry_is_refused_by_name() -> None:
    with pytest.raises(IncompatibleError, match="codec is int4-block@1, this version has int8-block@1"):
        codec_named("int4-block@1")
    with pytest.raises(IncompatibleError, match="aggregator is trimmed-mean@1, this version has weighted-mean@1"):
        aggregator_named("trimmed-mean@1")


@pytest.mark.timeout(240)
def test_the_benchmark_takes_it_from_a_module_of_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec", "--codec", "mine:Int4Block", "--steps", "3", "--repeat", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["codec"] == "int4-block@1"
    assert 0.5 < result["bytes_per_value"] < 0.53
    assert result["error_ratio"] > 1, "four bits are not as good as eight"
