"""What `bloomswarm status` prints: one line for a glance, a compact live view on a terminal with `--watch`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from monitoring.problems import BY_SLUG

BAR = 24
STEPS = "▁▂▃▄▅▆▇█"
SPARK = 32  # points of the loss curve
PEERS = 8  # rows; who gave most stands first
LANGUAGES = 24
HOME, CLEAR_LINE, CLEAR_BELOW, RESET = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[0m"
COLOURS = {
    "healthy": "\x1b[32m",
    "finished": "\x1b[34m",
    "warning": "\x1b[33m",
    "critical": "\x1b[31m",
    "stale": "\x1b[31m",
}


def show(value: dict[str, Any], watch: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(value, sort_keys=True), flush=True)
    elif watch and sys.stdout.isatty():
        size = shutil.get_terminal_size()
        print(screen(live_lines(value), size.columns, size.lines - 1, "NO_COLOR" not in os.environ), end="", flush=True)
    else:
        print("\n".join(lines(value)), flush=True)


def lines(value: dict[str, Any]) -> list[str]:
    if "concerned" in value:
        return concerned_lines(value)
    return [peer_line(peer) for peer in value["peers"]] if isinstance(value["peers"], list) else run_lines(value)


def screen(rows: list[tuple[str, str]], columns: int, height: int, colours: bool) -> str:
    """The rows (status, text) as one redraw from the top, without flicker: cut to the terminal, coloured by status."""
    drawn = []
    for status, text in rows[:height]:
        cut = text if len(text) <= columns else text[: columns - 1] + "…"
        colour = COLOURS.get(status, "") if colours else ""
        drawn.append(f"{colour}{cut}{RESET if colour else ''}{CLEAR_LINE}\n")
    return HOME + "".join(drawn) + CLEAR_BELOW


def live_lines(value: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of (status, text): of a run, or of each peer of this machine with its run below."""
    if not isinstance(value["peers"], list):
        return run_view(value)
    rows: list[tuple[str, str]] = []
    for peer in value["peers"]:
        status = "healthy" if peer.get("status") == "ok" else "warning"
        rows += [("", "")] if rows else []
        rows.append((status, peer_line({**peer, "problems": []})))
        rows += run_view(peer["swarm"]) if "swarm" in peer else []
    return rows


def run_view(run: dict[str, Any]) -> list[tuple[str, str]]:
    done = run["step"] / run["steps"]
    left = f"   about {duration(run['seconds_to_end'])} to go" if run["seconds_to_end"] else ""
    loss = run["loss"]["p50"]
    curve = [point[1] for point in run["curve"] if point[1] is not None]
    falls = f"   loss {loss:.3f} {spark(curve)}" if loss is not None else ""
    age = run["step_age_seconds"]
    pace = f"a step takes {duration(run['step_interval_seconds'])}, " if run["step_interval_seconds"] else ""
    last = f"   {pace}the last {duration(age)} ago" if age is not None else ""
    here = ", ".join(f"{count} {role}{'s' if count > 1 else ''}" for role, count in run["peers"].items() if count)
    rows = [
        (run["verdict"]["status"], f"{run['run']['name']}   {run['verdict']['words']}"),
        ("", f"step {run['step']:,} of {run['steps']:,}  {bar(done)} {done:.0%}{left}"),
        ("", f"{rate(run['samples_per_second'])}{falls}{last}"),
        ("", f"here: {here or 'nobody'}"),
    ]
    rows += [("", text) for text in language_rows(run.get("languages", []))]
    rows += [("", text) for text in peer_rows(run.get("who", []))]
    for problem in run["problems"]:
        rows.append((problem["severity"], f"! {problem['words']} What to do: {problem['remedy']}"))
    return rows


def language_rows(languages: list[dict[str, Any]]) -> list[str]:
    """Three languages a row."""
    cells = [
        f"{row['language']:3} {row['first_loss']:5.2f} → {row['loss']:5.2f} {spark([p[1] for p in row['curve']], 8):8}"
        for row in languages[:LANGUAGES]
        if row["loss"] is not None and row["first_loss"] is not None
    ]
    return ["  " + "   ".join(cells[at : at + 3]) for at in range(0, len(cells), 3)]


def peer_rows(who: list[dict[str, Any]]) -> list[str]:
    rows = []
    for row in who[:PEERS]:
        what = row["state"] if row["role"] == "trainer" else row["role"]
        gives = f"{row['samples_per_second']:7.1f} samples/s {row['total_samples']:>9,} given"
        rows.append(
            f"  {row['name']:18} {what:11} step {row['step']:>6,} {gives}  {' '.join(row['problems'])}".rstrip()
        )
    return rows + ([f"  and {len(who) - PEERS} more"] if len(who) > PEERS else [])


def rate(samples_per_second: float | None) -> str:
    """None: the picture is too old to tell."""
    return "speed not known" if samples_per_second is None else f"{samples_per_second:.1f} samples/s"


def bar(part: float) -> str:
    full = round(BAR * min(max(part, 0.0), 1.0))
    return "█" * full + "░" * (BAR - full)


def spark(values: list[float], width: int = SPARK) -> str:
    """The values as a row of blocks: the lowest is low."""
    if len(values) < 2:
        return ""
    picked = values if len(values) <= width else [values[at * (len(values) - 1) // (width - 1)] for at in range(width)]
    low, high = min(picked), max(picked)
    return "".join(STEPS[round((value - low) / (high - low or 1) * (len(STEPS) - 1))] for value in picked)


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def peer_line(peer: dict[str, Any]) -> str:
    name = Path(peer["folder"]).name
    if "state" not in peer:
        line = f"{name}: {peer['status']}; the last it said: {peer['last']}"
    else:
        since = peer["seconds_since_step"]
        ago = f", the last {duration(since)} ago" if since is not None else ""
        doing = f"{peer['state']} {peer['detail']}" if peer.get("detail") else peer["state"]
        line = f"{name}: {doing} ({peer['status']}), step {peer['step']:,}{ago}; {peer['url']}"
        line += f"; {peer['steps'][-1]}" if peer["steps"] else ""
        if peer.get("problems"):
            line += f"; the swarm: {' '.join(BY_SLUG[slug].title for slug in peer['problems'] if slug in BY_SLUG)}"
            return line + (f" What to do: {peer['advice']}" if peer["advice"] else "")
    return line + (f". What to do: {peer['advice']}" if peer["advice"] else "")


def run_lines(value: dict[str, Any]) -> list[str]:
    loss = value["loss"]["p50"]
    line = f"{value['run']['name']}: {value['verdict']['words']} Step {value['step']:,} of {value['steps']:,}"
    line += f", {rate(value['samples_per_second'])}" + (f", loss {loss:.3f}" if loss is not None else "")
    if value["seconds_to_end"]:
        line += f", about {duration(value['seconds_to_end'])} to go"
    silent = [f"  Did not answer: {who}; so this may not be all. Ask again." for who in value.get("unanswered", [])]
    return [line, *silent] + [f"  {problem['words']} What to do: {problem['remedy']}" for problem in value["problems"]]


def concerned_lines(value: dict[str, Any]) -> list[str]:
    """An alert's problem and its peers, named as the page names them, with their ids."""
    now = value["words"] or "It is not there now."
    rows = [
        f"  {row['name']:18} {row['role']:9} {row['state']:11} step {row['step']:>6,}"
        f"  seen {duration(row['seen_seconds_ago'])} ago  {row['peer_id']}"
        for row in value["concerned"]
    ]
    return [
        f"{value['problem']} ({value['severity']}): {value['title']}",
        f"{now} (asked: {value['asked']})",
        *(rows or ["  No peer is concerned."]),
        f"What to do: {value['remedy']} See {value['runbook']}",
    ]
