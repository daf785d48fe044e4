"""The owner's or an anchor's word for a state, kept in a peer's folder and passed on: see `swarm/trust/endorsement.py`.

Whoever gives one, only its signature counts. A liar can at most hide the newest one, so several peers are asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peers.run_folder import write_atomically
from swarm.errors import CheckpointError
from swarm.network.streams import PeerError, RefusedError

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.run.manifest import Manifest
    from swarm.trust.endorsement import Endorsement

HANDLER, PURPOSE = "endorsement", "state"
FOLDER = "endorsements"
ASKED, ASK_SECONDS = 8, 5.0
KEPT = 16
logger = logging.getLogger(__name__)


class Endorsements:
    """Those in `folder`/endorsements, one a file, by step. What is there and cannot be read is passed over."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder / FOLDER, manifest

    def keep(self, endorsement: Endorsement) -> Path:
        """The file it is in from now on; the oldest of too many go."""
        path = self.folder / f"{endorsement.step:012d}-{endorsement.signer[-8:]}.json"
        write_atomically(path, endorsement.to_bytes())
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Endorsement | None:
        """Of the highest step."""
        from swarm.trust.endorsement import MAX_BYTES, read_endorsement

        for path in self._files():
            try:
                with path.open("rb") as file:
                    return read_endorsement(file.read(MAX_BYTES + 1), self.manifest, str(path))
            except (OSError, CheckpointError) as error:
                logger.warning("an endorsement was passed over: %s", error)
        return None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"), reverse=True)[: 2 * KEPT] if self.folder.is_dir() else []

    def serve(self, network: Network) -> None:
        """Pass the newest one on to whoever asks."""

        def read() -> bytes:
            found = self.newest()
            if found is None:
                raise RefusedError("none is known here")
            return found.to_bytes()

        async def give(peer_id: str, request: bytearray) -> bytes:
            return await asyncio.get_running_loop().run_in_executor(None, read)

        network.handle(HANDLER, give, limit_bytes=64, purpose=PURPOSE)

    def ask(self, network: Network, peers: Sequence[str]) -> Endorsement | None:
        """The newest that these peers or this folder know, kept. Takes no longer than the slowest answer, or 5 s."""
        found = network.run(self._ask_all(network, [peer for peer in peers if peer != network.peer_id][:ASKED]))
        own = self.newest()
        best = max(filter(None, [own, *found]), key=lambda each: each.step, default=None)
        if best is not None and (own is None or best.step > own.step):
            self.keep(best)
        return best

    async def _ask_all(self, network: Network, peers: Sequence[str]) -> list[Endorsement | None]:
        return await asyncio.gather(*(self._ask(network, peer) for peer in peers))

    async def _ask(self, network: Network, peer: str) -> Endorsement | None:
        from swarm.trust.endorsement import MAX_BYTES, read_endorsement

        try:
            data = await network.streams.call(
                peer, HANDLER, timeout_seconds=ASK_SECONDS, limit_bytes=MAX_BYTES, purpose=PURPOSE
            )
            return read_endorsement(bytes(data), self.manifest, f"the endorsement from {peer[-6:]}")
        except PeerError:
            return None  # nobody's word is known there
        except CheckpointError:
            network.reject("signature")
            return None


def endorsed_state(folder: Path, manifest: Manifest, network: Network, records: Iterable[str]) -> Endorsement | None:
    """The newest state that somebody vouches for, as far as the others know; passed on from now on.

    folder: this peer's. records: ids of peers that have been heard of; the doors it came by are asked first.
    """
    if manifest.averaging.algorithm != "round":
        return None
    known = Endorsements(folder, manifest)
    doors = [door.rpartition("/p2p/")[2] for door in network.initial_peers]
    found = known.ask(network, list(dict.fromkeys([*doors, *records])))
    known.serve(network)
    return found
