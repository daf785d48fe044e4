"""The picture as the JSON of `/api/v1/...`: what docs/api.md documents and the page shows. No address is in it."""

from __future__ import annotations

from typing import Any

from monitoring.view.acquaintance import Acquaintance
from monitoring.view.doors import join_link
from monitoring.view.findings import Finding
from monitoring.view.robust import percentile
from monitoring.view.swarm import Point, SwarmView
from swarm import __version__
from swarm.trust.peer_id import friendly_name


def swarm_document(view: SwarmView, now: float, found: list[Finding]) -> dict[str, Any]:
    """`/api/v1/swarm`."""
    facts, trainers = view.facts, view.trainers()
    losses = [known.record.loss for known in trainers if known.record.loss is not None]
    speed = view.speed(now)
    return {
        "run": {
            "name": facts.name,
            "digest": facts.digest,
            "description": facts.description,
            "parameters": facts.parameters,
            "link": join_link(view),
        },
        "verdict": verdict(view, now, found),
        "step": view.step,
        "steps": facts.steps,
        "finished": view.finished,
        "step_age_seconds": round(max(0.0, now - view.step_time), 1) if view.seen_step else None,
        "step_interval_seconds": _rounded(view.interval()),
        "seconds_to_end": _rounded(view.remaining(now)),
        "training": len(view.training()),
        "peers": {role: sum(known.record.role == role for known in view.live()) for role in ROLES},
        "samples_per_second": _rounded(speed),
        "tokens_per_second": None if speed is None else round(speed * facts.sequence_length, 1),
        "loss": {f"p{percent}": _rounded(percentile(losses, percent), 4) for percent in (10, 50, 90)},
        "curve": [[point.step, _rounded(point.loss, 4)] for point in view.curve],
        "validation_step": view.validations[-1].step if view.validations else None,
        "problems": [problem_document(each) for each in found],
        "updated": round(view.looked, 3),
        "age_seconds": round(now - view.looked, 1) if view.looked else None,
        "stale": view.stale(now),
        "version": __version__,
    }


ROLES = ("trainer", "seed", "assistant", "archive", "monitor")


def verdict(view: SwarmView, now: float, found: list[Finding]) -> dict[str, str]:
    """One word for a colour, one line for a person."""
    if view.stale(now):
        return {"status": "stale", "words": "This picture is old: the monitor cannot see the swarm."}
    if view.finished:
        return {"status": "finished", "words": f"Finished: all {view.facts.steps:,} steps are done."}
    if view.looked == 0:
        return {"status": "starting", "words": "Looking for peers ..."}
    grave = next((each for each in found if each.problem.severity == "critical"), None)
    if grave is not None:
        return {"status": "critical", "words": grave.problem.title}
    training, others = len(view.training()), len(view.trainers()) - len(view.training())
    who = f"{training} peer{'' if training == 1 else 's'} training" + (
        f", {others} not yet or paused" if others else ""
    )
    if any(each.problem.severity == "warning" for each in found):
        return {"status": "warning", "words": f"{who}, with something to look at."}
    if not training:
        return {"status": "starting", "words": f"Getting ready: {others} peer{'' if others == 1 else 's'} here."}
    return {"status": "healthy", "words": f"Healthy: {who}."}


def problem_document(finding: Finding) -> dict[str, Any]:
    problem = finding.problem
    return {
        "problem": problem.slug,
        "severity": problem.severity,
        "title": problem.title,
        "words": finding.words,
        "remedy": problem.remedy,
        "peers": [{"name": friendly_name(peer), "peer_id": peer} for peer in finding.peers[:100]],
    }


def peers_document(view: SwarmView, now: float, found: list[Finding], problem: str | None) -> dict[str, Any]:
    """`/api/v1/peers`; `?problem=` leaves those that the problem concerns."""
    concerned: dict[str, list[str]] = {}
    for each in found:
        for peer in each.peers:
            concerned.setdefault(peer, []).append(each.problem.slug)
    rows = [
        peer_row(known, now, concerned.get(peer, []), view.checked.implausible.get(peer, []))
        for peer, known in view.known.items()
        if (problem in concerned.get(peer, [])) or (problem is None and known.departed is None)
    ]
    return {"peers": sorted(rows, key=lambda row: (row["role"] != "trainer", -row["total_samples"], row["name"]))}


def peer_row(known: Acquaintance, now: float, problems: list[str], claims: list[str]) -> dict[str, Any]:
    record = known.record
    return {
        "name": friendly_name(known.peer_id),
        "peer_id": known.peer_id,
        "role": record.role,
        "state": known.departed or record.state,
        "step": record.step,
        "loss": _rounded(record.loss, 4),
        "samples_per_second": round(record.samples_per_second, 2),
        "total_samples": record.total_samples,
        "version": record.version,
        "private": record.private,
        "seen_seconds_ago": round(now - known.last_seen, 1),
        "problems": problems,
        "implausible": claims,
    }


def rounds_document(view: SwarmView) -> dict[str, Any]:
    """`/api/v1/rounds`: the last steps that the monitor saw, newest first. Reports of rounds: since the one before."""
    points = list(view.rounds)
    before: list[Point | None] = [None, *points[:-1]]
    rows = [
        {
            "step": point.step,
            "time": round(point.time, 1),
            "loss": _rounded(point.loss, 4),
            "peers": point.peers,
            "seconds": _rounded(point.seconds),
            "committed": max(0, point.committed - (last.committed if last else 0)),
            "missed": max(0, point.missed - (last.missed if last else 0)),
        }
        for last, point in zip(before, points, strict=True)
    ]
    return {"rounds": rows[::-1]}


def languages_document(view: SwarmView, now: float) -> dict[str, Any]:
    """`/api/v1/languages`: how each improves, and whether it gets its share."""
    lately = view.lately(now)
    total = sum(count for key, count in lately.items() if key[0] == "tokens")
    present, epochs = view.language_losses(), view.facts.epochs(view.step, len(view.trainers()))
    rows = []
    for code in view.facts.languages:
        curve = [[point.step, round(point.losses[code], 4)] for point in view.curve if code in point.losses]
        held_out = [
            [found.step, round(found.bits_per_byte[code], 4)]
            for found in view.validations
            if code in found.bits_per_byte
        ]
        rows.append(
            {
                "language": code,
                "loss": _rounded(present.get(code), 4),
                "first_loss": curve[0][1] if curve else None,
                "curve": curve,
                "validation": held_out[-1][1] if held_out else None,
                "validation_curve": held_out,
                "epochs": _rounded(epochs.get(code), 3),
                "planned_share": round(view.facts.planned[code], 4),
                "share": round(lately["tokens", code] / total, 4) if total else None,
                "tokens": sum(known.record.tokens_by_language.get(code, 0) for known in view.live()),
            }
        )
    return {"languages": rows}


def problems_document(found: list[Finding]) -> dict[str, Any]:
    return {"problems": [problem_document(each) for each in found]}


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
