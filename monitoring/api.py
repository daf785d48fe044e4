"""The health page and the JSON behind it, for a monitor or for one peer: routes for `monitoring.server`.

See docs/api.md. Everything a peer said is JSON data and the page writes it as text, never as markup.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitoring.problems import BY_SLUG
from monitoring.server import Request, Response, Route, json_response
from monitoring.view.document import (
    languages_document,
    peers_document,
    problems_document,
    rounds_document,
    swarm_document,
)
from monitoring.view.facts import RunFacts, amended
from monitoring.view.findings import Finding, Reach, findings
from monitoring.view.swarm import SwarmView
from swarm.records import ProgressRecord
from swarm.trust.peer_id import friendly_name

if TYPE_CHECKING:
    from swarm.run.manifest import Manifest

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
}
COLOURS = {"healthy": "#2e7d4f", "finished": "#3b6fb0", "warning": "#a96a00", "critical": "#b3362b"}
GREY = "#6b6f76"
FRESH_SECONDS = 2.0


class Watch:
    """A picture that threads share; a monitor feeds it. At a peer's own port it is the swarm as that peer hears it.

    source: where a peer takes everybody's last record from, only when somebody asks. me: its id, so that its page can
    tell which row is its own.
    """

    def __init__(
        self,
        facts: RunFacts,
        *,
        source: Callable[[], Mapping[str, ProgressRecord]] | None = None,
        me: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock, self.source, self.me = clock, source, me
        self.lock = threading.Lock()
        self.view = SwarmView(facts, clock())
        self.reach = Reach()

    def look(
        self,
        records: Mapping[str, ProgressRecord],
        rejected: Mapping[str, int] | None = None,
        unread: frozenset[str] = frozenset(),
    ) -> None:
        with self.lock:
            self.view.observe(records, self.clock(), rejected, unread)

    def amend(self, version: Manifest) -> None:
        """From now on this version of the run counts."""
        with self.lock:
            self.view.amend(amended(self.view.facts, version))

    def unanswered(self) -> None:
        """No door that the monitor knows answered."""
        with self.lock:
            self.view.unanswered(self.clock())

    def read(self, make: Callable[[SwarmView, float, list[Finding]], Any]) -> Any:
        """What `make` says of the view, now, under the lock."""
        with self.lock:
            now = self.clock()
            if self.source is not None and now - self.view.looked >= FRESH_SECONDS:
                self.view.observe(self.source(), now)
            return make(self.view, now, findings(self.view, now, self.reach))


def api_routes(watch: Watch) -> dict[str, Route]:
    """The page and `/api/v1/...`."""
    return {
        **{path: _file(*file) for path, file in FILES.items()},
        "/badge.svg": lambda request: _badge(watch),
        "/api/v1/swarm": lambda request: json_response(watch.read(lambda *seen: _swarm(watch, *seen))),
        "/api/v1/peers": lambda request: _peers(watch, request),
        "/api/v1/rounds": lambda request: json_response(watch.read(lambda view, now, found: rounds_document(view))),
        "/api/v1/languages": lambda request: json_response(
            watch.read(lambda view, now, found: languages_document(view, now))
        ),
        "/api/v1/problems": lambda request: json_response(
            watch.read(lambda view, now, found: problems_document(found))
        ),
    }


def _swarm(watch: Watch, view: SwarmView, now: float, found: list[Finding]) -> dict[str, Any]:
    document = swarm_document(view, now, found)
    if watch.me is not None:
        known = view.known.get(watch.me)
        state = known.record.state if known is not None else None
        document["me"] = {"peer_id": watch.me, "name": friendly_name(watch.me), "state": state}
    return document


def _peers(watch: Watch, request: Request) -> Response:
    problem = request.query.get("problem")
    if problem is not None and problem not in BY_SLUG:
        known = " ".join(BY_SLUG)
        return json_response({"error": f"no such problem; one of: {known}"}, 400)
    return json_response(watch.read(lambda view, now, found: peers_document(view, now, found, problem)))


def _file(name: str, content_type: str) -> Route:
    return lambda request: Response((PAGE / name).read_bytes(), content_type)


def _badge(watch: Watch) -> Response:
    """An SVG for a README: the run's state and step. Only words of ours and numbers are in it."""
    document = watch.read(swarm_document)
    status = document["verdict"]["status"]
    text = f"{status} · step {document['step']:,} of {document['steps']:,}"
    width = 96 + 7 * len(text)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="22" role="img" aria-label="swarm: {text}">'
        f'<rect width="{width}" height="22" rx="4" fill="#33373d"/>'
        f'<path d="M84 0h{width - 88}a4 4 0 0 1 4 4v14a4 4 0 0 1 -4 4h-{width - 88}z" '
        f'fill="{COLOURS.get(status, GREY)}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="10" y="15">bloomswarm</text><text x="92" y="15">{text}</text></g></svg>'
    )
    return Response(svg.encode(), "image/svg+xml; charset=utf-8")
