"""How a run's peers give each other the shared state: by certificate, or, where averaging is hivemind's, on trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.state.catch_up import CatchUp, RoundCatchUp
from peers.state.certified import StateFetcher
from peers.state.checkpoint_donor import CheckpointDonor
from peers.state.donor import Donor
from peers.state.evidence import EvidenceDonor
from peers.wiring import SENT, initial_state

if TYPE_CHECKING:
    from peers.roles.peer import Peer


def catching_up(peer: Peer) -> CatchUp | RoundCatchUp:
    """What brings `peer` to the swarm's state; from now on it also gives its own to others."""
    if peer.manifest.averaging.algorithm == "hivemind":
        Donor(peer.network, peer.snapshot, lambda: peer.state.step)
        return CatchUp(peer.network, peer.manifest, peer.state, peer.lock, peer.reporter)
    CheckpointDonor(peer.network, peer.manifest, peer.checkpoints)
    EvidenceDonor(peer.network, peer.averager, peer.folder / SENT)
    fetcher = StateFetcher(
        peer.network,
        peer.manifest,
        peer.averager,
        peer.folder,
        watch=peer.reporter,
        leaving=lambda: bool(peer.leave),
        pin=peer.pin,
    )
    return RoundCatchUp(
        fetcher,
        peer.state,
        peer.reporter,
        initial=lambda: initial_state(peer.folder, peer.manifest),
        pause=peer.leave.event.wait,
    )
