"""A peer that signs two different things for one place is proved a liar, on the disk of whoever saw both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swarm.averaging.live.inbound import MESSAGE
from swarm.averaging.live.links import Links
from swarm.averaging.round.messages import DOMAIN, Ready
from swarm.averaging.round.reading import parse
from swarm.trust.identity import verify
from tests.swarm.averaging.live.trainees import Trainee, manifest, wait_until
from tests.swarm.averaging.wire import Wire

STEPS = 6


def two_faced(peer: Trainee) -> None:
    """From now on this peer says each Ready twice, with another weight the second time."""
    links, context = peer.averager.driver.links, peer.averager.driver.core.context

    def send(to: str, data: bytes, payload: object = None) -> None:
        Links.send(links, to, data, payload)  # type: ignore[arg-type]
        message = parse(data[1:]).message if data[:1] == MESSAGE and payload is None else None
        if isinstance(message, Ready):
            Links.send(links, to, MESSAGE + context.seal(replace(message, weight=message.weight + 1.0)).wire)

    links.send = send  # type: ignore[method-assign]


@pytest.mark.timeout(60)
def test_two_signed_readys_of_one_peer_are_kept_on_disk(tmp_path: Path) -> None:
    run, alive, wire = manifest(), {}, Wire()
    peers = [
        Trainee(wire.join(), run, name, alive=alive, folder=tmp_path / str(name))  # type: ignore[arg-type]
        for name in range(4)
    ]
    liar = peers[3].network.peer_id
    two_faced(peers[3])
    try:
        for peer in peers:
            peer.start(STEPS)
        honest = peers[:3]
        wait_until(lambda: all(peer.state.step >= STEPS for peer in honest), 40, "rounds in spite of the liar", honest)
        assert len({peer.state.digest() for peer in honest}) == 1
        wait_until(lambda: list(tmp_path.glob("[012]/proofs/*-1")), 10, "a proof on disk", honest)
    finally:
        for peer in peers:
            peer.close()
        wire.close()
    for second in tmp_path.glob("[012]/proofs/*-1"):
        pair = [parse(place.read_bytes()) for place in (second.with_name(second.name[:-1] + "0"), second)]
        assert all(verify(liar, DOMAIN + envelope.body, envelope.signature) for envelope in pair)
        assert len({envelope.message.at for envelope in pair}) == 1, "for one place"
        assert pair[0].message != pair[1].message
