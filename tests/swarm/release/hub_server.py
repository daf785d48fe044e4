"""A server on loopback that speaks as much of the Hub's HTTP as an upload needs, and keeps what it is given.

The real client talks to it: login, repository, pre-upload, LFS batch, validation of the card, commit. Endpoints as in
huggingface_hub (hf_api.py, _commit_api.py, lfs.py).
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "t" * 34


class Hub:
    """repos: name -> private? files: path -> bytes of the last commit. refuse: path's end -> status to answer."""

    def __init__(self) -> None:
        self.repos: dict[str, bool] = {}
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.refuse: dict[str, int] = {}
        self.endpoint = ""

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        for end, status in self.refuse.items():
            if path.endswith(end):
                return status, {"error": "as the test wishes"}
        if method == "PUT":
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid user token."}
        if path == "/api/whoami-v2":
            return 200, {"name": "me", "type": "user", "orgs": []}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith("/preupload/main"):
            wanted = json.loads(body)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in wanted
            ]
            return 200, {"files": modes}
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            places = [one | {"actions": {"upload": {"href": f"{self.endpoint}/lfs/{one['oid']}"}}} for one in objects]
            return 200, {"transfer": "basic", "objects": places}
        if path.endswith("/commit/main"):
            return self._commit(path, body)
        return 404, {"error": f"{method} {path}"}

    def _create(self, value: dict[str, Any]) -> tuple[int, Any]:
        name = f"{value.get('organization') or 'me'}/{value['name']}"
        if name in self.repos:
            return 409, {"error": "You already created this model repo", "url": f"{self.endpoint}/{name}"}
        self.repos[name] = bool(value.get("private")) or value.get("visibility") == "private"
        return 200, {"url": f"{self.endpoint}/{name}", "name": name}

    def _commit(self, path: str, body: bytes) -> tuple[int, Any]:
        for line in body.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "header":
                self.messages.append(value["summary"])
            elif row["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
        repo = path.removeprefix("/api/models/").removesuffix("/commit/main")
        oid = f"{len(self.messages):040x}"
        return 200, {"commitUrl": f"{self.endpoint}/{repo}/commit/{oid}", "commitOid": oid, "hookOutput": ""}


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            size = self.headers.get("Content-Length")
            body = self.rfile.read(int(size)) if size else self._chunked()
            path = self.path.partition("?")[0]
            status, value = hub.answer(self.command, path, self.headers.get("Authorization"), body)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _chunked(self) -> bytes:
            body = b""
            while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
                body += self.rfile.read(size)
                self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = do_HEAD = _reply  # noqa: N815 - the names that http.server asks for

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
