"""A peer that trains by itself although others are here: the log says so, and what stands between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.records import ProgressRecord

ROUNDS = 3  # alone, one after another: before that they may be about to meet
COMPUTING = ("training", "averaging", "alone")


class Apart:
    """own_id: this peer. client: does it only dial out?"""

    def __init__(self, own_id: str, client: bool) -> None:
        self.own_id, self.client = own_id, client
        self.rounds = 0
        self.others = 0  # that train, where this peer has been apart from them for some rounds

    def round(self, roster: Collection[str], members: Mapping[str, ProgressRecord]) -> str | None:
        """After a round of these peers: what to say, once, where this one is apart from `members`, or no longer."""
        others = {peer: each for peer, each in members.items() if peer != self.own_id and each.state in COMPUTING}
        self.rounds = self.rounds + 1 if [*roster] == [self.own_id] and others else 0
        before, self.others = self.others, len(others) if self.rounds >= ROUNDS else 0
        if before and not self.others:
            return "This peer trains with others again." if others else None
        if before or not self.others:
            return None
        return f"{self.detail.capitalize()}. {self.remedy(others)}"

    @property
    def detail(self) -> str:
        """For `status`; empty where this peer is not apart."""
        if not self.others:
            return ""
        who = "another who trains" if self.others == 1 else f"{self.others} others who train"
        return f"apart from {who} and cannot be reached"

    def remedy(self, others: Mapping[str, ProgressRecord]) -> str:
        if self.client and not any(record.addresses for record in others.values()):
            return (
                "All of you only dial out (client mode), and such peers average through one that can be dialled: let "
                "somebody type `bloomswarm assist LINK` on a machine that can, for example the seed's."
            )
        return "What lies between, `bloomswarm doctor LINK` says."
