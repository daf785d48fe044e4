"""A small HTTP server for metrics, health, pages and JSON: GET only, routes are functions, a thread per request.

On loopback it answers only requests that name a loopback host: otherwise any web page could read it through a DNS name
that it points at 127.0.0.1 (DNS rebinding). Nothing it serves may be loaded into a page from elsewhere.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from swarm.errors import ResourceError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
REQUEST_SECONDS = 10.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Request:
    query: Mapping[str, str]
    accept: str = ""


@dataclass(frozen=True)
class Response:
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Route = Callable[[Request], Response]


def json_response(value: Any, status: int = 200) -> Response:
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8") + b"\n"
    return Response(body, "application/json; charset=utf-8", status)


class Server:
    """Serves `routes` (by exact path) from `start` to `close`. Port 0: any free one, known after `start`."""

    def __init__(self, routes: Mapping[str, Route], port: int, host: str = "127.0.0.1") -> None:
        self.routes, self.host, self.port = routes, host, port
        self._httpd: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> int:
        """Returns the port. ResourceError where it is taken or not allowed."""
        assert self._httpd is None, "started twice"
        try:
            self._httpd = _Httpd((self.host, self.port), _handler(self.routes, self.host in LOOPBACK))
        except OSError as error:
            remedy = "choose another port, or 0 for any free one"
            raise ResourceError(f"port {self.port} on {self.host} cannot be used: {error.strerror}; {remedy}") from None
        self.port = self._httpd.server_address[1]
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.1,), name="http", daemon=True)
        self._thread.start()
        return self.port

    def close(self) -> None:
        """Stop answering and free the port. Closing twice is fine."""
        if self._httpd is not None and self._thread is not None:
            self._httpd.shutdown()
            self._httpd.server_close()
            self._thread.join(REQUEST_SECONDS)
            self._httpd = None


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """As the base class of the base class does: HTTPServer would ask DNS for our own name."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; a traceback on a volunteer's terminal would be."""


def _handler(routes: Mapping[str, Route], loopback_only: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version = "bloomswarm"
        sys_version = ""

        def do_GET(self) -> None:
            self._send(self._respond())

        def do_HEAD(self) -> None:
            self._send(self._respond(), body=False)

        def _respond(self) -> Response:
            if loopback_only and _host(self.headers.get("Host", "")) not in LOOPBACK:
                return Response(b"only for this machine: ask for 127.0.0.1 or localhost\n", status=403)
            parts = urlsplit(self.path)
            route = routes.get(parts.path)
            if route is None:
                return Response(f"nothing here; try {' '.join(sorted(routes))}\n".encode(), status=404)
            return route(Request(dict(parse_qsl(parts.query, max_num_fields=20)), self.headers.get("Accept", "")))

        def _send(self, response: Response, body: bool = True) -> None:
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            if body:
                self.wfile.write(response.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent: a scrape every few seconds is not for a volunteer's terminal."""

    return Handler


def _host(header: str) -> str:
    """The host of a Host header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()
