"""Peers this one has met, kept in its folder: when every seed of the link is gone, one of them is the door."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from peers.run_folder import write_atomically
from swarm.address import doors_of, is_dialable

if TYPE_CHECKING:
    from swarm.records import ProgressRecord

logger = logging.getLogger(__name__)
MOST = 16
OF_ONE = 3  # addresses of one peer
MAX_BYTES = 65_536


class Acquaintances:
    """Addresses in `path`, a JSON list. A missing or damaged file is an empty one: it only saves time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: tuple[str, ...] = ()

    def addresses(self) -> tuple[str, ...]:
        """At most 16 that can be dialled."""
        try:
            found = json.loads(self.path.read_bytes()[:MAX_BYTES])
        except (OSError, ValueError, RecursionError):
            return ()
        usable = (
            [text for text in found if isinstance(text, str) and is_dialable(text)] if isinstance(found, list) else []
        )
        return tuple(usable[:MOST])

    def remember(self, records: Mapping[str, ProgressRecord], own_id: str) -> None:
        """Keep what these peers say of where they are; each may only name itself. Those that train come first."""
        known: list[str] = []
        for peer, record in sorted(records.items(), key=lambda item: item[1].role != "trainer"):
            known += doors_of(peer, record.addresses)[:OF_ONE] if peer != own_id else []
        kept = tuple(known[:MOST])
        if kept and kept != self.kept:
            try:
                write_atomically(self.path, json.dumps(kept).encode())
            except OSError as error:  # a full disk: it only costs time later
                logger.warning("%s is not written: %s", self.path, error.strerror)
            self.kept = kept
