"""What a peer signs and checks in a round: its keys, and in a run that is not open whom it lets in."""

from __future__ import annotations

from swarm.averaging.round.context import Crypto, Door
from swarm.network.host import Network
from swarm.trust.identity import verify


def crypto_of(network: Network) -> Crypto:
    """This peer's keys, and in a run that is not open its door."""
    guard = network.guard
    if guard is None:
        return Crypto(network.identity.sign, verify)
    admission = guard.admission

    def invited(peer: str, shown: bytes) -> bool:
        if not (known := admission.invited(peer, shown)):
            network.reject("not_invited")
        return known

    door = Door(invited, admission.tolerable, lambda: admission.shown_by(network.peer_id))
    return Crypto(network.identity.sign, verify, door)
