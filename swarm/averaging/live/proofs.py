"""What proves a peer a liar, on disk: two messages that it signed for one place, as they travelled."""

from __future__ import annotations

from pathlib import Path

from swarm.averaging.round.events import Proof


def keep_proof(folder: Path, proof: Proof) -> None:
    """Write both to `folder`, as <peer>-<end of the first signature>-0 and -1."""
    folder.mkdir(exist_ok=True)
    first, second = proof.first.wire, proof.second.wire
    for number, wire in enumerate((first, second)):
        (folder / f"{proof.peer}-{first[-8:].hex()}-{number}").write_bytes(wire)
