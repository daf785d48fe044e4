"""Real peers on loopback, port 0: each a daemon of its own, all in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from swarm.network.host import Network
from swarm.trust.identity import Identity

RUN = hashlib.sha256(b"a run").hexdigest()
Join = Callable[..., Network]


@pytest.fixture
def join() -> Iterator[Join]:
    """`join()` starts the first peer, `join(first)` another that knows `first`; all are closed at the end."""
    networks: list[Network] = []

    def start(*seeds: Network, identity: Identity | None = None, run: str = RUN, **options: object) -> Network:
        peers = [address for seed in seeds for address in seed.addresses()]
        options.setdefault("initial_peers", peers)
        network = Network(identity or Identity.generate(), run, **options)  # type: ignore[arg-type]
        networks.append(network)
        return network.start()

    yield start
    for network in reversed(networks):
        network.close()
