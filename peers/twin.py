"""One key, one process: two that run with the same key would each undo what the other says, so the second refuses.

On one machine the kernel's lock tells (`Identity.lock`). Elsewhere the directory does: our own record, written by
somebody who goes on writing it. A record of our own former process is as old as it is, and expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from peers.telling.progress import REPEAT_SECONDS, read_progress
from swarm.errors import IdentityError

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.records import ProgressRecord

WATCH_SECONDS = 2.5 * REPEAT_SECONDS  # in which a living process has written twice
LOOK_SECONDS = 0.5


def refuse_twin(
    network: Network, read: Callable[[Network], dict[str, ProgressRecord]] = read_progress, pause: float = LOOK_SECONDS
) -> None:
    """IdentityError where another process runs with this key. Takes a moment only where there is a record of it."""
    first = read(network).get(network.peer_id)
    deadline = time.monotonic() + WATCH_SECONDS
    while first is not None and time.monotonic() < deadline:
        time.sleep(pause)
        now = read(network).get(network.peer_id)
        if now is None:
            return
        if now.clock != first.clock:
            where = f" at {now.addresses[0].partition('/p2p/')[0]}" if now.addresses else ""
            remedy = "stop that one, or give this peer a folder, and so a key, of its own with --dir"
            raise IdentityError(f"{network.identity.name} already runs in another process{where}; {remedy}")
