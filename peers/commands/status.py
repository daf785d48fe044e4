"""`bloomswarm status`: one line on what is happening and what to do about it, of this machine's peers or of a run.

How it looks on a terminal is in `peers/telling/status_view.py`.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from peers.checks.clock import fault
from swarm.errors import ConfigError

WATCH_SECONDS = 2.0
LAST_STEPS = 3
LOOK_SECONDS = 1.0  # between two looks at a run
PATIENCE_SECONDS = 5.0  # with its directory, which may need a moment: then what is known is told


@click.command(
    "status",
    epilog="Examples:\n\n  bloomswarm status --watch\n\n  bloomswarm status LINK --json\n\n"
    "  bloomswarm status LINK --problem digests-differ",
)
@click.argument("link", required=False)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl+C.")
@click.option("--problem", help="Only the peers of the run that this problem concerns: an alert's `problem`.")
@click.option("--monitor", help="Ask this monitor, which remembers, and not the swarm: http://127.0.0.1:9465")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look.")
def command(
    link: str | None, folder: Path | None, watch: bool, problem: str | None, monitor: str | None, as_json: bool
) -> None:
    """What a peer of this machine does, or how the run of LINK is."""
    from peers.telling.status_view import show

    if problem is not None:
        from peers.telling.concerned import concerned

        show(concerned(link, problem, monitor), False, as_json)
    elif link is not None:
        if Path(link).is_dir():
            raise ConfigError(f"{link} is a folder, not a link: bloomswarm status --dir {link}")
        look_at_run(link, watch, lambda value: show(value, watch, as_json))
    else:
        look_at_peers(folder, watch, lambda value: show(value, watch, as_json))


def look_at_peers(folder: Path | None, watch: bool, shown: Callable[[dict[str, Any]], None]) -> None:
    while True:
        shown({"peers": [peer_status(each) for each in folders(folder)]})
        if not watch:
            return
        time.sleep(WATCH_SECONDS)


def folders(folder: Path | None) -> list[Path]:
    """The folders of peers that have run here. ConfigError where there is none."""
    from peers.folders import home

    if folder is not None and not (folder / "events.jsonl").is_file():
        raise ConfigError(f"{folder} is not a peer's folder: it holds no events.jsonl; see --dir of `bloomswarm join`")
    found = [folder] if folder else sorted(path.parent for path in (home() / "runs").glob("*/events.jsonl"))
    if not found:
        raise ConfigError(
            "no peer has run here yet; join a run with `bloomswarm join LINK`, or name its folder with --dir"
        )
    return found


def peer_status(folder: Path) -> dict[str, Any]:
    """From the peer's own port while it runs, else from the last thing it said."""
    events = read_events(folder)
    port = next((event["port"] for event in reversed(events) if event.get("event") in ("metrics", "monitor")), None)
    last = events[-1] if events else {"event": "", "words": "has said nothing yet", "time": 0.0}
    status: dict[str, Any] = {"folder": str(folder), "last": last.get("words", ""), "last_time": last.get("time")}
    status["steps"] = [event["words"] for event in events if event.get("event") == "step"][-LAST_STEPS:]
    health = ask(port, "/health") if isinstance(port, int) else None
    if health is None:
        ended = last["event"] in ("finished", "left")
        status |= {"status": "ended" if ended else "not running", "advice": advice("" if ended else "not running")}
        return status
    status |= health | {"port": port, "url": f"http://127.0.0.1:{port}"}
    swarm = ask(port, "/api/v1/swarm")
    if swarm is not None:
        status |= {"problems": [problem["problem"] for problem in swarm["problems"]], "swarm": swarm}
    state = str(health["state"])
    if state != "paused" and str(health.get("detail")).startswith("as a branch"):
        state = "forked"
    elif state != "paused" and str(health.get("detail")).startswith("apart"):
        state = "apart"
    elif str(health.get("detail")).startswith("and none of"):
        state = "without a state"
    if (wrong := fault(health.get("clock_skew_seconds"))) is not None:
        return status | {"advice": wrong}
    return status | {"advice": advice(state if health["status"] == "ok" else str(health["status"]))}


ADVICE = {
    "not running": "start it again with the same `bloomswarm join` command; it goes on from its last checkpoint",
    "stalled": "it has made no step for long: see `bloomswarm doctor`, then restart it",
    "alone": "nobody else is here: it goes on alone; check the link if you expected others",
    "lagging": "it is behind and catches up by itself; if this stays, its link or disk is too slow",
    "assembling": "it gets ready: it reads the run's text and looks for the model's state",
    "waiting": "it is ready and waits for others, as `--wait-for` says",
    "forked": "half of the swarm went at once: it heals when the others are back; is your connection well?",
    "apart": "it trains by itself though others are here: its log says why; see `bloomswarm doctor LINK`",
    "paused": "go on with `bloomswarm resume`",
    "downloading": "it fetches the model's state; wait",
    "without a state": "it asks again by itself; who has the state is busy, gone, or has given this peer enough for an "
    "hour: its log says which; if nobody answers, see `bloomswarm doctor LINK`",
}


def advice(state: str) -> str:
    return ADVICE.get(state, "")


def read_events(folder: Path) -> list[dict[str, Any]]:
    events = []
    for line in (folder / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the line that is being written right now
        if isinstance(event, dict):
            events.append(event)
    return events


def ask(port: int, path: str) -> Any:
    """What this machine's peer answers, or None where nobody does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error) if error.code == 503 else None
    except (OSError, ValueError):
        return None


def look_at_run(text: str, watch: bool, shown: Callable[[dict[str, Any]], None]) -> None:
    """Once, as soon as somebody is seen or the patience ends, or again and again."""
    from monitoring.view.document import languages_document, peers_document, swarm_document
    from peers.commands.terminal import passing
    from peers.telling.glance import Patience, glances

    with passing() as say:
        patience = None if watch else Patience(PATIENCE_SECONDS)
        for seen in glances(text, LOOK_SECONDS, str if watch else say, patience):
            if patience is not None and not seen.view.live() and patience.left > 0:
                continue
            value = seen.read(swarm_document)
            if patience is None:
                value["who"] = seen.read(lambda *now: peers_document(*now, None))["peers"]
                value["languages"] = seen.read(lambda view, now, found: languages_document(view, now))["languages"]
            else:
                value["unanswered"] = patience.silent
            say("")
            shown(value)
            if not watch:
                return
