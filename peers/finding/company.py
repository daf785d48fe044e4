"""What a peer does about who else is in the run: looks for others where none is, goes where it is there twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from peers.finding.visit import clock_skew
from swarm.run.sizing import show_seconds

if TYPE_CHECKING:
    from peers.finding.acquaintances import Acquaintances
    from peers.lifecycle import Leave
    from swarm.network.host import Network


class Company:
    """Its methods are what `Progress` calls, in a thread of its own.

    skewed(seconds): told how far this machine's clock is ahead of the others', as far as that is known.
    """

    def __init__(
        self,
        network: Network,
        acquaintances: Acquaintances,
        leave: Leave,
        *,
        say: Callable[[str], None],
        skewed: Callable[[float | None], None],
    ) -> None:
        self.network, self.acquaintances, self.leave = network, acquaintances, leave
        self.say, self.skewed = say, skewed

    def look(self, seconds: float) -> None:
        """Nobody has been heard of for a while: knock again at the doors that are known; next time in `seconds`."""
        causes = self.network.meet([*self.network.initial_peers, *self.acquaintances.addresses()])
        answering = (address.rpartition("/p2p/")[2] for address, cause in causes.items() if cause is None)
        self.skewed(clock_skew(self.network, answering))
        if causes and all(cause is not None for cause in causes.values()):
            again = f"{len(causes)} known addresses are tried again in {show_seconds(seconds)}"
            self.say(f"Nobody of the swarm answers ({next(iter(causes.values()))}): going on alone; {again}.")

    def found(self) -> None:
        self.say("Others of the swarm are here again.")

    def twin(self) -> None:
        """An older process runs with our key: what both say would undo each other."""
        self.leave.now("another process runs with this peer's key; stop that one, or use another --dir")
