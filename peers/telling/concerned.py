"""Which peers a problem concerns: what `bloomswarm status LINK --problem WORD` answers, for whoever got an alert.

A monitor is asked first, since it remembers: who was lost, or which language nobody has read for ten minutes, cannot be
seen in one look. Where none answers for this run, the swarm's directory is looked at for a few seconds instead.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from monitoring.problems import BY_SLUG
from swarm.errors import ConfigError, NetworkError

HERE = "http://127.0.0.1:9465"  # where `bloomswarm monitor` serves if it is not told otherwise
ANSWER_SECONDS = 5.0
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 12.0  # of looking before it is said that nobody is concerned: much needs two records of a peer


def concerned(text: str | None, slug: str, monitor: str | None) -> dict[str, Any]:
    """The problem, whether it is there now, and the peers. text: the run's link; without it a monitor must answer."""
    if slug not in BY_SLUG:
        raise ConfigError(f"there is no problem {slug!r}; one of: {' '.join(BY_SLUG)}")
    told = by_monitor(monitor or HERE, text, slug)
    if told is None:
        if monitor is not None or text is None:
            raise NetworkError(f"no monitor of this run answers at {monitor or HERE}; name another with --monitor")
        told = by_looking(text, slug)
    problem = BY_SLUG[slug]
    return {
        "problem": slug,
        "severity": problem.severity,
        "title": problem.title,
        "remedy": problem.remedy,
        "runbook": problem.runbook,
        **told,
    }


def by_monitor(url: str, text: str | None, slug: str) -> dict[str, Any] | None:
    """None where nobody answers, or for another run."""
    from swarm.run.link import parse

    try:
        run = _get(f"{url}/api/v1/swarm")["run"]["digest"]
        if text is not None and run != parse(text).digest:
            return None
        found = _get(f"{url}/api/v1/problems")["problems"]
        peers = _get(f"{url}/api/v1/peers?problem={slug}")["peers"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    words = next((each["words"] for each in found if each["problem"] == slug), None)
    return {"asked": f"the monitor at {url}", "words": words, "concerned": peers}


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url}: {error.code}") from None


def by_looking(text: str, slug: str) -> dict[str, Any]:
    """Until the problem shows, or it has been looked at for long enough. NetworkError where no peer answers."""
    from monitoring.view.document import peers_document
    from peers.telling.glance import glances

    deadline = time.monotonic() + SETTLE_SECONDS
    words, peers = None, []
    for watch in glances(text, LOOK_SECONDS):
        found = watch.read(lambda view, now, found: found)
        words = next((each.words for each in found if each.problem.slug == slug), None)
        peers = watch.read(lambda *seen: peers_document(*seen, slug))["peers"]
        if words is not None or time.monotonic() > deadline:
            break
    return {"asked": f"the swarm, looked at for up to {SETTLE_SECONDS:.0f} s", "words": words, "concerned": peers}
