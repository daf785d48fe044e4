"""The shared state, offered to peers that need it and taken from peers that have it.

A donor answers "state" with what it has (step, digest, size) and serves the bytes by content. The copy is made under
the lock that the trainer holds only while it applies an outcome, so training never waits for a download.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from swarm.canonical import digest
from swarm.errors import NetworkError, SwarmError

if TYPE_CHECKING:
    from swarm.network.host import Network

HANDLER = "state"
LIMIT_BYTES = 4096


class Donor:
    """Offers snapshots made by `snapshot() -> (step, bytes)` over `network`; keeps the bytes of the last one."""

    def __init__(self, network: Network, snapshot: Callable[[], tuple[int, bytes]], step: Callable[[], int]) -> None:
        self.network = network
        self.snapshot = snapshot
        self.step = step
        self.lock = threading.Lock()
        self.offer: dict[str, Any] | None = None
        network.handle(HANDLER, self._answer, limit_bytes=LIMIT_BYTES)

    async def _answer(self, peer_id: str, request: bytearray) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, self._current_offer)

    def _current_offer(self) -> bytes:
        with self.lock:
            if self.offer is None or self.offer["step"] != self.step():
                step, data = self.snapshot()
                if self.offer is not None:
                    self.network.withdraw(self.offer["digest"])
                self.offer = {"step": step, "digest": digest(data), "size": len(data)}
                self.network.serve(self.offer["digest"], data)
            return json.dumps(self.offer).encode()


def offers(network: Network, donors: Sequence[str]) -> list[tuple[int, str, str, int]]:
    """What each donor offers, as (step, donor, digest, size), the highest step first. Those that fail are left out."""
    found = []
    for donor in donors:
        try:
            offer = json.loads(network.call(donor, HANDLER, b"", timeout_seconds=20.0, limit_bytes=LIMIT_BYTES))
            found.append((int(offer["step"]), donor, str(offer["digest"]), int(offer["size"])))
        except (SwarmError, ValueError, KeyError, TypeError):
            network.reject("offer")
    return sorted(found, reverse=True)


def download(
    network: Network, donors: Sequence[str], limit_bytes: int, progress: Callable[[int, int, str], None]
) -> bytes:
    """The newest offered snapshot. A donor that lies about size or digest is skipped; NetworkError: none is left."""
    causes = []
    for _, donor, what, size in offers(network, donors):
        if size > limit_bytes or len(what) != 64:
            causes.append(f"{donor[-6:]} offers {size} bytes where the state has at most {limit_bytes}")
            continue
        try:
            return network.fetch(what, limit_bytes, [donor], progress)
        except (SwarmError, ValueError) as error:
            causes.append(f"{donor[-6:]}: {error}")
    raise NetworkError(f"no peer could give the run's state ({'; '.join(causes) or 'nobody answered'}); try again")
