"""A seed of a run that is not open: it hands out what the owner signed in the run's folder, also while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from peers.owner.membership import guarded, hear, require_invited
from swarm.errors import ConfigError

if TYPE_CHECKING:
    from swarm.network.guard import Guard
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.manifest import SignedManifest


def keep_door(network: Network, signed: SignedManifest, run: Path, say: Callable[[str], None]) -> None:
    """From now on, where the run is not open. UninvitedError: not invited, and not where the owner's key is."""
    guard = guarded(network, signed)
    if guard is None:
        return
    keeper = Doorkeeper(network, guard, signed, run, say)
    keeper.look()
    keeper.invite_itself()
    require_invited(network, signed)


class Doorkeeper:
    """`turn` runs in the thread that reads the records."""

    def __init__(
        self, network: Network, guard: Guard, signed: SignedManifest, run: Path, say: Callable[[str], None]
    ) -> None:
        from peers.owner.guest_book import GuestBook

        self.network, self.guard, self.run, self.say = network, guard, run, say
        self.book = GuestBook(run, signed)
        self.seen: tuple[int, ...] = ()
        guard.keep, guard.turn = self.book.write_revocations, self.turn

    def invite_itself(self) -> None:
        """Where the owner's key is, nobody needs to type it."""
        from peers.owner.guest_book import LONGEST_DAYS, OWNER, Owner

        invited = self.guard.admission.refusal(self.network.peer_id) != "not_invited"
        if not invited and (self.run / OWNER).is_file():
            Owner(self.run).invite(self.network.peer_id, LONGEST_DAYS)
            self.look()

    def turn(self, records: Mapping[str, ProgressRecord]) -> None:
        self.look()
        hear(self.network, self.guard, records)

    def look(self) -> None:
        """Take up what `invite` and `revoke` have written since."""
        if (now := self.book.changed()) == self.seen:
            return
        self.seen = now
        try:
            for peer, held in self.book.invitations().items():
                self.guard.admission.invited(peer, held.to_bytes())
            self.guard.admission.take(self.book.revocations().data)
        except ConfigError as error:
            self.say(str(error))
