"""`docs/metrics.md` from the table: `python -m monitoring.document`. A test compares file and table."""

from __future__ import annotations

from pathlib import Path

from monitoring.metrics import PREFIX, Metric, Scope, of_scope

TARGET = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
MANY = 8  # more label values than this go below the table

HEADINGS: dict[Scope, str] = {
    "peer": "One peer, at its own `/metrics`",
    "run": "The whole swarm, at the monitor's `/metrics`",
    "monitor": "The monitor about itself",
    "probe": "What the prober finds from outside",
}

INTRODUCTION = """# Metrics

Generated from `monitoring/metrics/` by `python -m monitoring.document`; change the table, not this file.

Every series carries `run`, the first 16 digits of the manifest's digest, so that two runs in one Prometheus never mix.
No label ever holds a peer id, a host name, an address or other text that a stranger chose; what is not in a label's set
is called `other`. Counters exist from the start, at zero. A gauge whose value is not known is absent, not zero.
Figures that peers claim about themselves (`swarm_run_*`) are medians, quantiles and capped sums, never proof.
"""


def document() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for scope, heading in HEADINGS.items():
        if metrics := of_scope(scope):
            parts.append(_section(f"{heading} (`{PREFIX[scope]}*`)", metrics))
    return "\n".join(parts)


def _section(heading: str, metrics: tuple[Metric, ...]) -> str:
    lines = [f"## {heading}", "", "| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    lines += [_row(metric) for metric in metrics]
    sets = {
        (label, among)
        for metric in metrics
        for label, among in metric.labels.items()
        if not isinstance(among, str) and len(among) > MANY
    }
    lines += [""] if sets else []
    lines += [f"`{label}` is one of: {', '.join(among)}.\n" for label, among in sorted(sets)]
    return "\n".join(lines).rstrip() + "\n"


def _row(metric: Metric) -> str:
    labels = "; ".join(_label(label, among) for label, among in metric.labels.items())
    note = " Only where there is a GPU." if metric.gpu else ""
    return f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.help}{note} |"


def _label(label: str, among: tuple[str, ...] | str) -> str:
    if isinstance(among, str):
        return f"`{label}`: {among}, other"
    return f"`{label}`: {', '.join(among)}" if len(among) <= MANY else f"`{label}` (below)"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
    print(TARGET)
