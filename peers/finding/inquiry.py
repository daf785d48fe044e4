"""Asking a living swarm for what an audit needs, as a guest: nothing is stored there, nobody waits for us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from peers.finding.arrival import ask_for_manifest, ask_for_tokenizer, ask_for_weights
from peers.finding.visit import heard, others
from peers.known import require_known
from peers.owner.amendments import Amendments
from peers.run_folder import RunFolder
from peers.wiring import SENT
from swarm.errors import ConfigError, IncompatibleError
from swarm.network.host import Network
from swarm.run.portable import serves_weights
from swarm.trust.identity import Identity

if TYPE_CHECKING:
    from swarm.run.link import Link


def inquire(link: Link, name: str, step: int | None, folder: Path, say: Callable[[str], None]) -> tuple[str, int]:
    """Put into `folder` what a replay of a peer's contribution needs; the whole peer id and the step.

    name: a peer id, or the end of one that is alive. ConfigError, NetworkError, IncompatibleError.
    """
    from peers.state.gathering import Gathering

    say("Starting the network daemon ...")
    with Network(Identity.generate(), link.digest, initial_peers=link.peers, client=True) as network:
        signed = ask_for_manifest(network, link)
        require_known(signed.manifest)
        if signed.manifest.averaging.algorithm != "round":
            raise IncompatibleError("only runs whose rounds are certified can be replayed: others keep no log")
        tokenizer = ask_for_tokenizer(network, signed)
        if serves_weights(signed.manifest.model.initial_checkpoint) and RunFolder(folder).weights() is None:
            RunFolder(folder).write_weights(ask_for_weights(network, signed))
        records = heard(network)
        Amendments(folder, signed.manifest).ask_doors(network, records)
        peer = _whole(name, list(records))
        donors = list(dict.fromkeys([peer, *records, *others(network, link, records)]))
        gathering = Gathering(network, signed, tokenizer, folder, donors=donors, say=say)
        return peer, gathering.gather(peer, step, folder / SENT)


def _whole(name: str, alive: list[str]) -> str:
    found = [peer for peer in alive if peer.endswith(name)]
    if len(found) != 1:
        there = ", ".join(alive) or "nobody"
        raise ConfigError(f"--peer {name[:80]!r} names {len(found)} of the peers that are heard of ({there})")
    return found[0]
