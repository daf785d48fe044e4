"""Shared states from checkpoints on disk: served to peers that are behind, and taken from peers that are ahead.

What is taken is believed because a quorum has signed the digests of its spans in the log, never because of who gave it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.checkpoint import log_head_of, saved, state_file_of
from swarm.errors import CheckpointError, NetworkError, SwarmError
from swarm.state_file import file_size, state_from_bytes

if TYPE_CHECKING:
    from swarm.averaging.live.averager import RoundAverager
    from swarm.averaging.live.positions import CertifiedState
    from swarm.manifest import Manifest
    from swarm.network.host import Network
    from swarm.state import SharedState

HANDLER = "checkpoints"
LIMIT_BYTES = 16_384
MAX_OFFERS = 64
Progress = Callable[[int, int, str], None]


class CheckpointDonor:
    """Offers every checkpoint in `folder` by its head of the log; the bytes are served by content, from disk."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.known: dict[Path, tuple[str, str]] = {}  # checkpoint -> (head, SHA-256 of its state file)
        network.handle(HANDLER, self._answer, limit_bytes=64)

    async def _answer(self, peer_id: str, request: bytearray) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, self._offers)

    def _offers(self) -> bytes:
        offers: dict[str, dict[str, Any]] = {}
        for path in saved(self.folder)[:MAX_OFFERS]:
            try:
                if path not in self.known:
                    with state_file_of(path).open("rb") as file:
                        content = hashlib.file_digest(file, "sha256").hexdigest()
                    self.known[path] = (log_head_of(path) or "", content)
                    self.network.serve(content, state_file_of(path))
                head, content = self.known[path]
                offers[head] = {"digest": content, "size": state_file_of(path).stat().st_size}
            except (OSError, CheckpointError):  # removed meanwhile, in favour of a newer one
                self.known.pop(path, None)
        return json.dumps(offers).encode()


class StateFetcher:
    """Finds a state that the log certifies: on this disk, else at other peers."""

    def __init__(self, network: Network, manifest: Manifest, averager: RoundAverager, progress: Progress) -> None:
        self.network, self.manifest, self.averager, self.progress = network, manifest, averager, progress
        self.limit_bytes = file_size(manifest)

    def fetch(self, donors: Sequence[str], initial: Callable[[], SharedState]) -> tuple[bytes, SharedState]:
        """(head of the log, the state there), the newest that can be had. NetworkError where none can."""
        wanted = self.averager.wanted()
        if not wanted:
            raise NetworkError("no state of the run is certified yet; it will be within a few rounds")
        offers = {donor: self._offers(donor) for donor in donors}
        causes = []
        for state in wanted:
            if state.step == 0:
                return state.head, initial()
            for donor, offered in offers.items():
                try:
                    return state.head, self._take(state, donor, offered.get(state.head.hex()))
                except (SwarmError, ValueError) as error:
                    causes.append(f"{donor[-6:]}: {error}")
        raise NetworkError(f"no peer could give a certified state ({'; '.join(causes[:4]) or 'nobody answered'})")

    def _offers(self, donor: str) -> dict[str, Any]:
        try:
            answer = self.network.call(donor, HANDLER, b"", timeout_seconds=20.0, limit_bytes=LIMIT_BYTES)
            offers = json.loads(bytes(answer))
            return offers if isinstance(offers, dict) else {}
        except (NetworkError, ValueError, RecursionError):
            self.network.reject("message")
            return {}

    def _take(self, wanted: CertifiedState, donor: str, offer: Any) -> SharedState:
        if not isinstance(offer, dict) or not isinstance(offer.get("digest"), str) or len(offer["digest"]) != 64:
            raise NetworkError(f"has no checkpoint of step {wanted.step}")
        data = self.network.fetch(offer["digest"], self.limit_bytes, [donor], self.progress)
        state = state_from_bytes(self.manifest, data, f"the state from {donor[-6:]}")
        found = self.averager.terms.state(wanted.step, state.span_digests)
        if state.step != wanted.step or found != b"".join(wanted.digests):
            self.network.reject("digest")
            raise NetworkError(f"gave a state of step {state.step} that is not the certified one")
        return state
