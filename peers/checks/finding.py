"""What a check found, and what a check is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """words: what is so, with the values. fix: what to type or do; empty where all is well."""

    name: str
    verdict: Verdict
    words: str
    fix: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Check(Protocol):
    """Looks at one thing. It never raises for what it is there to find."""

    name: str

    def look(self) -> Finding: ...


def ok(name: str, words: str, **values: Any) -> Finding:
    return Finding(name, "ok", words, values=values)


def warn(name: str, words: str, fix: str, **values: Any) -> Finding:
    return Finding(name, "warn", words, fix, values)


def fail(name: str, words: str, fix: str, **values: Any) -> Finding:
    return Finding(name, "fail", words, fix, values)


def worst(findings: Iterable[Finding]) -> Verdict:
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in ("fail", "warn") if verdict in verdicts), "ok")
