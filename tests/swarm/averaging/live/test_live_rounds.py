"""The round over real daemons: everybody has the same bytes, and the sums are right."""

from __future__ import annotations

import pytest

from tests.swarm.averaging.live.trainees import Trainee, manifest, wait_until
from tests.swarm.network.conftest import Join, join  # noqa: F401

pytestmark = pytest.mark.real


def test_four_peers_train_and_stay_identical(join: Join) -> None:  # noqa: F811
    run = manifest()
    alive: dict = {}
    networks = [join(run=run.digest)]
    networks += [join(networks[0], run=run.digest) for _ in range(3)]
    peers = [Trainee(network, run, name, alive=alive) for name, network in enumerate(networks)]
    try:
        for peer in peers:
            peer.start(steps=10)
        wait_until(lambda: all(peer.state.step >= 10 for peer in peers), 60, "ten steps", peers)
        assert len({peer.state.digest() for peer in peers}) == 1
        assert all(peer.averager.roster() == peers[0].averager.roster() for peer in peers)
        assert not [missed for peer in peers for missed in peer.missed()]
        for peer in peers:
            assert peer.worst_error() < 0.05, "a mean is not that of the gradients of those who were in"
            stats = [outcome.stats for outcome in peer.outcomes if outcome.included]
            assert len(stats) >= 5, "a busy machine may cut a straggler off, but not usually"
            assert all(stat.codec_relative_error < 0.01 and stat.codec_cosine > 0.9999 for stat in stats)
            assert all(stat.bytes_sent > 0 and stat.bytes_received > 0 and stat.void_spans == 0 for stat in stats)
            assert peer.averager.figures.agreement is True
            assert peer.averager.position().round == 10
            assert not peer.averager.figures.rejected()
    finally:
        for peer in peers:
            peer.close()
