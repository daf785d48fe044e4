"""Dashboards and rules against the table and against a live Prometheus: does every expression find something?

A dashboard that shows "No data" looks the same as a swarm that is down, so every expression of every panel is run
against a Prometheus that scrapes real peers. Used by the tests and by whoever changes a dashboard:

    python -m monitoring.validate http://127.0.0.1:9090
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitoring.metrics import BY_NAME

GENERATED = Path(__file__).parent / "dashboards" / "generated"
RULES = Path(__file__).parent / "prometheus" / "rules" / "recording.yml"
NAME = re.compile(r"(?<![\w:\"])swarm_[a-z0-9_]+")
RECORDED = re.compile(r"(?<![\w:\"])swarm:[a-z0-9_:]+")
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
VARIABLES = {"$__rate_interval": "30s", "$__interval": "15s", "$__range": "5m", "${datasource}": "prometheus"}
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Expression:
    """Where an expression stands, and the PromQL with the dashboard's variables filled in."""

    dashboard: str
    panel: str
    promql: str


def expressions(folder: Path = GENERATED) -> Iterator[Expression]:
    """Every query of every panel of the generated dashboards."""
    for path in sorted(folder.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield Expression(path.stem, panel["title"], fill(target["expr"]))


def recording_rules(file: Path = RULES) -> dict[str, str]:
    """Name -> expression. Read with what every peer has installed: hivemind depends on PyYAML."""
    import yaml  # type: ignore[import-untyped]

    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def fill(promql: str, values: Mapping[str, str] = VARIABLES) -> str:
    """A dashboard's expression as Prometheus takes it: `$run` and the like match everything."""
    for variable, value in values.items():
        promql = promql.replace(variable, value)
    return re.sub(r"\$\{?[a-z_]+\}?", ".*", promql)


def metric_names(promql: str) -> set[str]:
    """The table's names that an expression uses (`_bucket` and so on taken off). KeyError: not in the table."""
    found = set()
    for name in NAME.findall(promql):
        whole = next((name.removesuffix(part) for part in HISTOGRAM_PARTS if name.removesuffix(part) in BY_NAME), name)
        found.add(BY_NAME[whole].name)
    return found


def recorded_names(promql: str) -> set[str]:
    """The recording rules that an expression uses."""
    return set(RECORDED.findall(promql))


def query(prometheus: str, promql: str) -> list[dict[str, Any]]:
    """The series that a Prometheus at the address `prometheus` has for an instant query, now. ValueError: refused."""
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{promql}: {error.read(500).decode('utf-8', 'replace')}") from None
    return answer["data"]["result"]


def without_series(prometheus: str, folder: Path = GENERATED) -> list[Expression]:
    """The expressions for which Prometheus has no series. Those about GPUs are excepted where there is none."""
    return [each for each in expressions(folder) if not about_gpu(each.promql) and not query(prometheus, each.promql)]


def rules_without_series(prometheus: str) -> list[str]:
    """The recording rules that have recorded nothing."""
    return [name for name in recording_rules() if not query(prometheus, name)]


def about_gpu(promql: str) -> bool:
    return any(BY_NAME[name].gpu for name in metric_names(promql))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring.validate", description=__doc__)
    parser.add_argument("prometheus", help="its address, such as http://127.0.0.1:9090")
    address = parser.parse_args().prometheus
    empty, silent = without_series(address), rules_without_series(address)
    for each in empty:
        print(f"{each.dashboard}: {each.panel}: no series for {each.promql}")
    print(f"{len(list(expressions())) - len(empty)} of {len(list(expressions()))} expressions have a series")
    for name in silent:
        print(f"recording rule without a series: {name}")
    return 1 if empty or silent else 0


if __name__ == "__main__":
    sys.exit(main())
