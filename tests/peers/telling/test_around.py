"""A peer that waits for others, over a real network of its own: what it exports holds before its first step."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from monitoring.exporter import PeerExporter
from peers.telling.around import Around
from peers.telling.progress import Progress
from peers.telling.standing import Standing
from swarm.errors import NetworkError
from swarm.network.host import Network
from swarm.network.traffic import Traffic
from swarm.trust.identity import Identity
from tests.peers.swarm_demo import wait_until

RUN = "ab" * 32


@pytest.mark.real
@pytest.mark.slow
def test_who_is_here_and_the_step_are_exported_before_there_was_a_step() -> None:
    with (
        Network(Identity.generate(), RUN, listen=("/ip4/127.0.0.1/tcp/0",)) as network,
        Progress(network, role="trainer") as progress,
        PeerExporter(run=RUN, languages=("en",)) as exporter,
    ):
        exporter.before_scrape = Around(exporter, progress, network, Standing(exporter, network)).look
        progress.tell(step=41, state="assembling")
        wait_until(lambda: figures(exporter.url).get('swarm_live_peers{role="trainer"}') == 1.0, 20, "itself is here")
        assert figures(exporter.url)["swarm_step{}"] == 41.0
        assert figures(exporter.url)["swarm_samples_per_second{}"] == 0.0


def test_a_clock_is_called_wrong_only_where_a_peer_says_so_too(tmp_path: Path) -> None:
    """The records were read late; asked twice as often as it is looked, a peer would answer for nothing."""
    asked: list[str] = []

    def clock_of(peer: str) -> float:
        asked.append(peer)
        if peer == "a":
            raise NetworkError("a does not answer")
        return 0.25

    network = SimpleNamespace(
        peer_id="me",
        traffic=Traffic(),
        rejected=Counter,
        clock_of=clock_of,
        reject=lambda reason: None,
        direct_peers=lambda: ["a"],
    )
    progress = SimpleNamespace(values={}, records=lambda: dict.fromkeys("ab", SimpleNamespace(role="trainer")))
    late = SimpleNamespace(skew=lambda others: 4.0)
    exporter = PeerExporter(folder=tmp_path)
    around = Around(exporter, progress, network, late)  # type: ignore[arg-type]
    assert [around.look(), around.look()] == [-0.25, -0.25]
    assert asked == ["a", "b"]
    late.skew = lambda others: 1.0
    assert around.look() == 1.0
    assert asked == ["a", "b"]


def figures(url: str) -> dict[str, float]:
    """Samples by name and labels, without the run's."""
    with urlopen(url + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    named = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {
        name.replace(f',run="{RUN[:16]}"', "").replace(f'run="{RUN[:16]}"', ""): float(value)
        for name, _, value in named
    }
