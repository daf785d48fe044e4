"""The round over real daemons: everybody has the same bytes, and the sums are right."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from swarm.averaging import codec
from swarm.averaging.averager import Contribution
from swarm.averaging.live.delivery import Offer
from swarm.averaging.live.inbound import Inbound
from swarm.averaging.live.links import before_payload
from swarm.averaging.round import events
from swarm.averaging.round.messages import Ballot, Header, Mean, seal
from swarm.digest import content_digest
from tests.swarm.averaging.live import trainees
from tests.swarm.averaging.live.trainees import Trainee, gradient, manifest, wait_until
from tests.swarm.network.conftest import Join, join  # noqa: F401

pytestmark = pytest.mark.real


def test_four_peers_train_and_stay_identical(join: Join, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
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
        for direct in (network.streams.direct for network in networks):
            assert direct is not None
            assert direct.opened == direct.accepted == 3, "peers of one machine exchange gradients past the daemon"
    finally:
        for peer in peers:
            peer.close()
    networks[0].run(too_late(peers[0]), 5)
    assert not [record for record in caplog.records if record.levelname == "ERROR"], caplog.text


def test_spans_of_equal_bytes_are_each_delivered(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def repeated(size: int, name: int, step: int) -> np.ndarray:
        return np.resize(gradient(4096, name, step), size)  # as where embeddings of rare words get no gradient at all

    monkeypatch.setattr(trainees, "gradient", repeated)
    run = manifest()
    alive: dict = {}
    networks = [join(run=run.digest, direct=False)]  # through the daemon, as over the internet
    networks += [join(networks[0], run=run.digest, direct=False) for _ in range(2)]
    peers = [Trainee(network, run, name, alive=alive) for name, network in enumerate(networks)]
    try:
        for peer in peers:
            peer.start(steps=5)
        wait_until(lambda: all(peer.state.step >= 5 for peer in peers), 60, "five steps", peers)
        rounds = [outcome.stats for peer in peers for outcome in peer.outcomes if outcome.included]
        assert len(rounds) >= 9
        assert not any(stats.void_spans for stats in rounds)
        assert median(stats.seconds for stats in rounds) < 1.0, "parts are asked for that were never sent"
        assert max(peer.worst_error() for peer in peers) < 0.05
    finally:
        for peer in peers:
            peer.close()


def test_nothing_is_computed_for_a_round_that_is_decided(
    join: Join,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newcomer learns the log first and its bytes seconds later; what it computes meanwhile, nobody would take."""

    async def deaf(inbound: Inbound, sender: str, message: bytearray) -> None:
        """The bytes are still on their way."""

    run = manifest()
    alive: dict = {}
    first = join(run=run.digest)
    second = join(first, run=run.digest)
    peers = [Trainee(first, run, 0, alive=alive)]
    try:
        peers[0].start(steps=1000)
        wait_until(lambda: peers[0].state.step >= 2, 30, "two steps", peers)
        with monkeypatch.context() as patch:
            patch.setattr(Inbound, "bulk", deaf)
            peers.append(Trainee(second, run, 1, alive=alive))
        late = peers[1].averager
        log, lag = late.driver.core.log, late.driver.lag
        wait_until(lambda: log.tip.round > 0, 30, "the log", peers)
        due, other = late.due(0, 0), lag.told or not late.outbox.empty()
        assert due
        assert not other, "this test shows nothing: it was due for another reason"
    finally:
        for peer in peers:
            peer.close()


async def too_late(peer: Trainee) -> None:
    """What may still come in when a peer has closed: an event, a payload to check, work that another thread gave."""
    driver = peer.averager.driver
    driver.feed(events.Tick())
    driver.handover.taken([bytes(32)])
    driver.giving.offer(Offer(peer.state.step, Contribution(np.zeros(1, np.float32), 1.0, 1), bytes))
    frame = codec.encode(driver.terms.codec, np.ones(driver.terms.values(0), np.float32))
    at = Header(driver.terms.run, bytes(32), 1, bytes(32), Ballot(0, "a", 1), "a", 1)
    body = seal(Mean(at, 0, content_digest(frame)), lambda body: b"").wire
    await driver.inbound.bulk("a", bytearray(before_payload(body) + frame))
    assert not driver.inbound.checks
