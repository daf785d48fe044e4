"""Who takes part in a run of invited peers, as one peer knows it: the invitations it has seen, and what was revoked.

An open run has no `Admission` and asks nobody for anything. Whether the owner signed an invitation is the same for
everybody and for ever, so the log of rounds may depend on it; whether it still holds depends on this machine's clock
and on what has been heard, so that only decides whom this peer deals with now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from swarm.trust.invitation import Invitation, Revocations, read_invitation, read_revocations

Refusal = Literal["not_invited", "invitation_expired", "revoked"]
SLACK_SECONDS = 600.0  # that two clocks may be apart: an invitation is honoured so long after its end
KNOWN = 4096  # invitations kept; only the owner can make any


class Admission:
    """mine: this peer's own invitation, or nothing. clock: Unix seconds."""

    def __init__(self, run_digest: str, owner: str, clock: Callable[[], float] = time.time) -> None:
        self.run_digest, self.owner, self.clock = run_digest, owner, clock
        self.invitations: dict[str, Invitation] = {}
        self.revocations = Revocations()
        self.heard_at = 0.0  # when the list of revocations was taken

    def invited(self, peer_id: str, data: bytes) -> bool:
        """Whether these are the owner's invitation of this peer, however old. The newest is kept."""
        held = self.invitations.get(peer_id)
        if held is not None and held.to_bytes() == data:
            return True
        read = read_invitation(data, self.run_digest, self.owner, peer_id)
        if read is None:
            return False
        if (held is None or held.serial < read.serial) and (held is not None or len(self.invitations) < KNOWN):
            self.invitations[peer_id] = read
        return True

    def shown_by(self, peer_id: str) -> bytes:
        """The newest invitation of this peer that was seen; nothing where none was."""
        held = self.invitations.get(peer_id)
        return held.to_bytes() if held is not None else b""

    def refusal(self, peer_id: str) -> Refusal | None:
        """Why this peer is not dealt with, or None."""
        held = self.invitations.get(peer_id)
        if held is None:
            return "not_invited"
        if self.revocations.void(peer_id, held.serial):
            return "revoked"
        return "invitation_expired" if self.clock() > held.not_after + SLACK_SECONDS else None

    def tolerable(self, peer_id: str) -> bool:
        """Whether a host whose clock is as far off as may be, or that has not heard yet, may let this peer in."""
        held, now = self.invitations.get(peer_id), self.clock()
        if held is None or now > held.not_after + 2 * SLACK_SECONDS:
            return False
        return not self.revocations.void(peer_id, held.serial) or now < self.heard_at + SLACK_SECONDS

    def take(self, data: bytes) -> bool:
        """A list of revocations: True where it is the owner's and newer than the one known."""
        read = read_revocations(data, self.run_digest, self.owner)
        if read is None or read.serial <= self.revocations.serial:
            return False
        self.revocations, self.heard_at = read, self.clock()
        return True
