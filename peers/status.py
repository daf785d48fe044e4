"""`bloomswarm status`: one line on what is happening and what to do about it, of this machine's peers or of a run."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from swarm.errors import ConfigError

WATCH_SECONDS = 2.0
LAST_STEPS = 3
LOOKS, LOOK_SECONDS = 5, 1.0  # at a run: the directory may need a moment
CLEAR = "\x1b[H\x1b[2J"


@click.command("status", epilog="Examples:\n\n  bloomswarm status --watch\n\n  bloomswarm status LINK --json")
@click.argument("link", required=False)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="A peer's folder  [all under ~/.bloomswarm]")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl+C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look.")
def command(link: str | None, folder: Path | None, watch: bool, as_json: bool) -> None:
    """What a peer of this machine does, or how the run of LINK is."""
    if link is not None:
        look_at_run(link, watch, lambda value: show(value, watch, as_json))
        return
    while True:
        show({"peers": [peer_status(each) for each in folders(folder)]}, watch, as_json)
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
        raise ConfigError("no peer has run here yet; join a run with `bloomswarm join LINK`, or name one: status LINK")
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
        status["problems"] = [problem["problem"] for problem in swarm["problems"]]
    state = "forked" if str(health.get("detail")).startswith("as a branch") else str(health["state"])
    return status | {"advice": advice(state if health["status"] == "ok" else str(health["status"]))}


ADVICE = {
    "not running": "start it again with the same `bloomswarm join` command; it goes on from its last checkpoint",
    "stalled": "it has made no step for long: see `bloomswarm doctor`, then restart it",
    "alone": "nobody else is here: it goes on alone; check the link if you expected others",
    "lagging": "it is behind and catches up by itself; if this stays, its link or disk is too slow",
    "assembling": "it gets ready, or waits for others as `--wait-for` says",
    "forked": "half of the swarm went at once: it heals when the others are back; is your connection well?",
    "paused": "go on with `bloomswarm resume`",
    "downloading": "it fetches the model's state; wait",
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
    """Read the run's records as a guest: nothing is stored or told."""
    from monitoring.api import Watch
    from monitoring.view.document import swarm_document
    from monitoring.view.facts import facts_of
    from peers.arrival import ask_for_manifest
    from peers.progress import read_progress
    from swarm.identity import Identity
    from swarm.link import parse
    from swarm.network.host import Network

    link = parse(text)
    with Network(Identity.generate(), link.digest, initial_peers=link.peers, client=True) as network:
        seen = Watch(facts_of(ask_for_manifest(network, link), text))
        for look in range(sys.maxsize if watch else LOOKS):
            seen.look(read_progress(network), network.rejected())
            if watch or seen.view.live() or look == LOOKS - 1:
                shown(seen.read(swarm_document))
                if not watch:
                    return
            time.sleep(LOOK_SECONDS)


def show(value: dict[str, Any], watch: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(value, sort_keys=True), flush=True)
        return
    lines = [peer_line(peer) for peer in value["peers"]] if isinstance(value["peers"], list) else run_lines(value)
    print((CLEAR if watch and sys.stdout.isatty() else "") + "\n".join(lines), flush=True)


def peer_line(peer: dict[str, Any]) -> str:
    name = Path(peer["folder"]).name
    if "state" not in peer:
        line = f"{name}: {peer['status']}; the last it said: {peer['last']}"
    else:
        since = peer["seconds_since_step"]
        ago = f", the last {since:.0f} s ago" if since is not None else ""
        doing = f"{peer['state']} {peer['detail']}" if peer.get("detail") else peer["state"]
        line = f"{name}: {doing} ({peer['status']}), step {peer['step']:,}{ago}; {peer['url']}"
        line += f"; {peer['steps'][-1]}" if peer["steps"] else ""
        if peer.get("problems"):
            line += f"; the swarm: {', '.join(peer['problems'])}"
    return line + (f". What to do: {peer['advice']}" if peer["advice"] else "")


def run_lines(value: dict[str, Any]) -> list[str]:
    loss = value["loss"]["p50"]
    line = f"{value['run']['name']}: {value['verdict']['words']} Step {value['step']:,} of {value['steps']:,}"
    line += f", {value['samples_per_second']:.1f} samples/s" + (f", loss {loss:.3f}" if loss is not None else "")
    if value["seconds_to_end"]:
        line += f", about {value['seconds_to_end'] / 60:.0f} min to go"
    return [line] + [f"  {problem['words']} What to do: {problem['remedy']}" for problem in value["problems"]]
