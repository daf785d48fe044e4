"""Fixtures of tests with real peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.real_swarm import RealSwarm, seeded


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RealSwarm]:
    """Of a small run that has a seed: one for all tests of a module."""
    with seeded(tmp_path_factory.mktemp(request.module.__name__.rpartition("test_")[2])) as swarm:
        yield swarm
