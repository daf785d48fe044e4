"""The owner's amendments as one process knows them, kept in its folder, passed on, asked for: `swarm/run/amendment.py`.

Whoever gives them, only the owner's signature counts. A liar can at most hide them, so whoever says in its record that
it knows more than we do is asked.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from peers.run_folder import write_atomically
from swarm.errors import ConfigError, NetworkError, SwarmError
from swarm.network.streams import RefusedError

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.amendment import Amendment, Chain
    from swarm.run.manifest import Manifest

HANDLER, PURPOSE = "amendments", "blob"
FOLDER = "amendments"
ANSWER_BYTES = 4 << 20
ASK_SECONDS, AGAIN_SECONDS = 10.0, 20.0  # for an answer; before the same peer is asked again
DOORS = 8
logger = logging.getLogger(__name__)


class Amendments:
    """`chain` grows and never changes otherwise. adopted(amendment): called for each new one, from any thread."""

    def __init__(self, folder: Path, first: Manifest, adopted: Callable[[Amendment], object] = bool) -> None:
        self.folder, self.first, self.adopted = folder / FOLDER, first, adopted
        self.lock = threading.Lock()
        self.asked: dict[str, float] = {}
        self.chain: Chain = ()
        self.read()

    def read(self) -> int:
        """Take in what is in the folder now; how many there are. What cannot be read is passed over, and said once."""
        from swarm.run.amendment import read_chain

        paths = sorted(self.folder.glob("[0-9]*.json")) if self.folder.is_dir() else []
        if len(paths) > len(self.chain):
            try:
                self._take(read_chain([path.read_bytes() for path in paths], self.first, str(self.folder)), keep=False)
            except (OSError, ConfigError) as error:
                logger.warning("amendments were passed over: %s", error)
        return len(self.chain)

    def keep(self, amendment: Amendment) -> Path:
        path = self.folder / f"{amendment.number:04d}.json"
        write_atomically(path, amendment.to_bytes())
        return path

    def serve(self, network: Network) -> None:
        """Pass all of them on to whoever asks."""

        def known() -> bytes:
            if not self.read():
                raise RefusedError("none are known here")
            return b"\n".join(each.to_bytes() for each in self.chain)

        async def give(peer_id: str, request: bytearray) -> bytes:
            return await asyncio.get_running_loop().run_in_executor(None, known)

        network.handle(HANDLER, give, limit_bytes=64, purpose=PURPOSE)

    def ask_doors(self, network: Network, others: Iterable[str]) -> None:
        """At the start: what the peers that we came by know, and those that have been heard of."""
        doors = [door.rpartition("/p2p/")[2] for door in network.initial_peers]
        for peer in list(dict.fromkeys([*doors, *others]))[:DOORS]:
            if peer != network.peer_id:
                self.ask(network, peer)

    def look(self, network: Network, records: Mapping[str, ProgressRecord]) -> None:
        """After each step: ask whoever knows more than we do, in a thread of its own. Returns at once."""
        now = time.monotonic()
        for peer, record in records.items():
            if record.amendments > len(self.chain) and now - self.asked.get(peer, -1e9) > AGAIN_SECONDS:
                self.asked[peer] = now
                threading.Thread(target=self.ask, args=(network, peer), name="amendments", daemon=True).start()
                return

    def ask(self, network: Network, peer: str) -> bool:
        """Whether that peer knew more. What is no chain of the owner's is counted as refused."""
        from swarm.run.amendment import read_chain

        try:
            data = network.call(
                peer, HANDLER, b"", timeout_seconds=ASK_SECONDS, limit_bytes=ANSWER_BYTES, purpose=PURPOSE
            )
            chain = read_chain(bytes(data).split(b"\n"), self.first, f"amendments from {peer[-6:]}")
        except NetworkError:
            return False  # none are known there, or it is gone
        except SwarmError:
            network.reject("signature")
            return False
        return self._take(chain, keep=True)

    def _take(self, chain: Chain, *, keep: bool) -> bool:
        """Longer chains of the owner's only. One that contradicts ours is refused: the owner has signed two."""
        with self.lock:
            ours = self.chain
            if len(chain) <= len(ours):
                return False
            if [each.digest for each in chain[: len(ours)]] != [each.digest for each in ours]:
                logger.warning("the owner has signed two different amendments %d; the first is kept", len(ours))
                return False
            new = chain[len(ours) :]
            if keep:
                for each in new:
                    self.keep(each)
            self.chain = chain
        for each in new:
            self.adopted(each)
        return True
