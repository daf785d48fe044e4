"""Belonging to a run of invited peers: showing an invitation on arrival, renewing it, hearing of revocations, leaving.

An open run passes through here and does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import NetworkError, UninvitedError
from swarm.trust.identity import friendly_name

if TYPE_CHECKING:
    from peers.lifecycle import Leave
    from peers.owner.guest_book import GuestBook
    from peers.telling.events import Events
    from swarm.network.guard import Guard
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.link import Link
    from swarm.run.manifest import SignedManifest

DOORS = 4  # peers of the link that are asked
RENEW_SECONDS = 86_400  # before the end: a seed may have a newer one
RENEWED_SECONDS = 60.0  # between two questions
ASK_SECONDS = 10.0


def guarded(network: Network, signed: SignedManifest) -> Guard | None:
    """From now on this peer deals with invited peers only, where the run says so."""
    from swarm.network.guard import admit_only
    from swarm.trust.admission import Admission

    if signed.manifest.join.policy == "invited" and network.guard is None:
        admit_only(network, Admission(signed.digest, signed.manifest.owner))
    return network.guard


def require_invitation(network: Network, signed: SignedManifest, link: Link, folder: Path) -> None:
    """Find this peer's invitation in its folder, in the link, or with the link's peers, and keep it. UninvitedError."""
    guard = guarded(network, signed)
    if guard is None:
        return
    from peers.owner.guest_book import GuestBook

    book = GuestBook(folder, signed)
    guard.keep = book.write_revocations
    look_for_invitation(network, guard, book, link)
    require_invited(network, signed)
    book.write_invitations({network.peer_id: guard.admission.invitations[network.peer_id]})


def look_for_invitation(network: Network, guard: Guard, book: GuestBook, link: Link) -> None:
    """In the peer's folder, in the link, and with the link's peers; and for what was revoked."""
    kept = book.invitations().get(network.peer_id)
    for shown in (kept.to_bytes() if kept else b"", bytes.fromhex(link.invitation or "")):
        guard.admission.invited(network.peer_id, shown)
    guard.admission.take(book.revocations().data)
    ask(network, guard, [address.rpartition("/p2p/")[2] for address in link.peers[:DOORS]])


def require_invited(network: Network, signed: SignedManifest) -> None:
    """UninvitedError, with what to do, where this peer may not take part (any more)."""
    why = network.guard.admission.refusal(network.peer_id) if network.guard is not None else None
    if why is not None:
        raise UninvitedError(_words(network, signed, why))


def _words(network: Network, signed: SignedManifest, why: str) -> str:
    assert network.guard is not None
    held = network.guard.admission.invitations.get(network.peer_id)
    who = {
        "not_invited": f"{network.peer_id} is not invited",
        "revoked": f"the owner has revoked {network.peer_id}",
        "invitation_expired": f"the invitation of {network.peer_id} ended on {day(held.not_after) if held else '-'}",
    }[why]
    owner = f"{friendly_name(signed.manifest.owner)}, who owns {signed.manifest.name}"
    return f"only invited peers take part, and {who}; ask {owner}, to type: bloomswarm invite RUN {network.peer_id}"


def day(seconds: float) -> str:
    """2026-01-31, UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def stay_invited(network: Network, leave: Leave, events: Events) -> None:
    """While this peer takes part: hear of revocations, renew its invitation, and leave where it is not invited."""
    if network.guard is not None:
        network.guard.turn = Membership(network, network.guard, leave, events).turn


class Membership:
    """`turn` runs in the thread that reads the records."""

    def __init__(self, network: Network, guard: Guard, leave: Leave, events: Events) -> None:
        self.network, self.guard, self.leave, self.events = network, guard, leave, events
        self.renewed = 0.0  # monotonic

    def turn(self, records: Mapping[str, ProgressRecord]) -> None:
        hear(self.network, self.guard, records)
        self.renew(records)
        why = self.guard.admission.refusal(self.network.peer_id)
        if why is not None and not self.leave:
            self.events("refused", f"This peer takes part no more: {why.replace('_', ' ')}.", reason=why)
            self.leave.now(f"this peer is no longer invited ({why.replace('_', ' ')})")

    def renew(self, records: Mapping[str, ProgressRecord]) -> None:
        """Ask the seeds for a newer invitation while ours nears its end."""
        admission, own = self.guard.admission, self.network.peer_id
        held = admission.invitations.get(own)
        if held is None or held.not_after - admission.clock() > RENEW_SECONDS:
            return
        if time.monotonic() - self.renewed > RENEWED_SECONDS:
            self.renewed = time.monotonic()
            ask(self.network, self.guard, [peer for peer, record in records.items() if record.role == "seed"][:DOORS])


def ask(network: Network, guard: Guard, peers: list[str]) -> None:
    """Take what they show, our newest invitation as they know it, and what was revoked."""
    for peer in peers:
        if peer != network.peer_id:
            with suppress(NetworkError):
                network.run(guard.ask(peer), ASK_SECONDS)


def hear(network: Network, guard: Guard, records: Mapping[str, ProgressRecord]) -> None:
    """What was revoked, from those that say they know more."""
    for peer in guard.better_informed(records):
        with suppress(NetworkError):
            network.run(guard.hear(peer), ASK_SECONDS)
