"""A seed that comes back without its memory: whoever knows its address goes to it."""

from __future__ import annotations

import time

import pytest

from peers.finding.knocking import Knocking
from peers.telling.progress import Progress
from swarm.network.host import Network
from swarm.trust.identity import Identity
from tests.peers.swarm_demo import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(120)]
RUN = "ab" * 32
FORGOTTEN_SECONDS = 15.0  # they publish every 3 s; who does not answer is no longer in their DHT's tables


def test_a_seed_that_comes_back_on_its_old_address_and_knows_nobody_is_met() -> None:
    identity = Identity.generate()
    seed = Network(identity, RUN, listen=("/ip4/127.0.0.1/tcp/0",)).start()
    (address, *_) = seed.addresses()
    port = address.split("/")[4]
    with (
        Network(Identity.generate(), RUN, initial_peers=(address,), listen=("/ip4/127.0.0.1/tcp/0",)) as one,
        Network(Identity.generate(), RUN, initial_peers=(address,), listen=("/ip4/127.0.0.1/tcp/0",)) as other,
        Progress(one, "trainer") as first,
        Progress(other, "trainer") as second,
    ):
        for progress in (first, second):
            progress.knocking = Knocking(progress.network, 4.0)
            progress.tell(step=7, state="training")
        wait_until(lambda: len(first.trainers()) == 2, 30, "the two have each other")
        seed.close()
        gone = time.monotonic()
        wait_until(lambda: time.monotonic() > gone + FORGOTTEN_SECONDS, 60, "the two have dropped it from their tables")
        again = Network(identity, RUN, listen=(f"/ip4/127.0.0.1/tcp/{port}",)).start()
        try:
            with Progress(again, "seed") as door:
                door.tell(step=0, state="serving")
                wait_until(lambda: len(door.trainers()) == 2, 60, "the seed sees both")
                wait_until(lambda: len(first.records()) == len(second.records()) == 3, 60, "both see the seed")
        finally:
            again.close()
