"""A guest in a run: who answers, what they say, how good the ways to them are. Nothing is stored or told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from swarm.errors import NetworkError

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.network.reach import Outside
    from swarm.network.sounding import Way
    from swarm.records import ProgressRecord
    from swarm.run.link import Link

MOST_WAYS = 3
ASKED = 8  # peers tried until so many have answered
LOOKS, LOOK_SECONDS = 4, 0.5  # at the directory
DIALLERS = 2  # that agree are enough to know whether we can be dialled


def heard(network: Network, looks: int = LOOKS) -> dict[str, ProgressRecord]:
    """What the run's peers say; the directory may need a moment."""
    from peers.telling.progress import read_progress

    for _ in range(looks - 1):
        if records := read_progress(network):
            return records
        time.sleep(LOOK_SECONDS)
    return read_progress(network)


def others(network: Network, link: Link, records: Mapping[str, ProgressRecord]) -> list[str]:
    """Whom to ask: those that train first (their line is the one that counts), then the link's own."""
    trainers = [peer for peer, record in records.items() if record.role == "trainer"]
    doors = [address.rpartition("/p2p/")[2] for address in link.peers]
    found = dict.fromkeys([*trainers, *doors, *records])
    return [peer for peer in found if peer != network.peer_id][:ASKED]


def ways_to(network: Network, peers: Sequence[str], say: Callable[[str], None], most: int = MOST_WAYS) -> list[Way]:
    """The ways to the first `most` peers that answer. One after another: together they would share our line."""
    ways: list[Way] = []
    for peer in peers:
        if len(ways) == most:
            break
        say(f"Measuring the way to {peer[-6:]} ...")
        try:
            ways.append(network.measure(peer))
        except NetworkError:
            network.reject("sounding")
    return ways


def seen_from(network: Network, peers: Sequence[str], most: int = DIALLERS) -> list[Outside]:
    """What the first `most` peers that answer find when they dial this machine."""
    answers: list[Outside] = []
    for peer in peers:
        if len(answers) == most:
            break
        try:
            answers.append(network.seen_by(peer))
        except NetworkError:
            network.reject("reach")
    return answers


def undialled(answers: Sequence[Outside]) -> str | None:
    """Where they saw this machine and why they could not dial it; None where one could, or nobody was asked."""
    if not answers or any(answer.reached for answer in answers):
        return None
    seen = sorted({answer.seen for answer in answers})
    causes = {f"port {port}: {cause}" for answer in answers for port, cause in answer.ports.items() if cause}
    return f"nobody can dial this machine at {', '.join(seen)} ({'; '.join(sorted(causes)) or 'it listens on no port'})"


def clock_skew(network: Network, peers: Iterable[str]) -> float | None:
    """Seconds that this machine's clock is ahead of that of the first of these peers that answers; None: none does."""
    for peer in peers:
        try:
            return -network.clock_of(peer)
        except NetworkError:
            network.reject("sounding")
    return None
