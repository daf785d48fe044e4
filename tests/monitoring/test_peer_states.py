"""A real peer that waits, trains, is paused and goes on: what its metrics, its `/health` and its page say each time."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from headless import Browser, chromium
from live_prometheus import wait_for
from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import STATES
from peers.demo.follow import Followed
from tests.peers.commands.test_cli import run
from tests.peers.real_swarm import in_rounds_of, make_run, swarm_of

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(500)]
READY = "document.body !== null && document.body.dataset.ready === 'yes'"
OWN_ROW = "document.querySelector('#peers li.me')?.textContent ?? ''"


@dataclass
class Peer:
    """A started peer as Prometheus and a browser ask it. `me` in series: nothing; a peer's own labels only."""

    process: Followed
    url: str

    def figures(self) -> dict[str, float]:
        """One scrape; labels but the run's stand behind the name, as in `swarm_state:paused`."""
        with urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {
            ":".join((sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "run"))): value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            for value in (sample.value,)
        }

    def asked(self, path: str) -> Any:
        with urlopen(f"{self.url}/{path}", timeout=10) as answer:
            assert answer.status == 200
            return json.load(answer)

    def state(self) -> str:
        """The one state that is 1 in its metrics."""
        figures = self.figures()
        (state,) = (name for name in STATES if figures[f"swarm_state:{name}"])
        return state


def test_a_peer_that_waits_trains_is_paused_and_goes_on(tmp_path: Path) -> None:
    with chromium(tmp_path) as browser, swarm_of(tmp_path, make_run(tmp_path)) as swarm:
        swarm.seed()
        started = swarm.join("ben", "--wait-for", "2")
        started.wait_for("metrics", 120, lambda: False)
        peer = Peer(started, str(started.latest["metrics"]["url"]).removesuffix("/metrics"))
        browser.open(f"{peer.url}/")
        browser.wait(READY)
        idle(peer, browser)
        other = swarm.join("ada")
        wait_for(lambda: in_rounds_of(started, 2) and in_rounds_of(other, 2), "rounds of two", 200)
        training(peer, browser)
        assert "pauses" in run("pause", "--dir", str(swarm.folder / "ben")).stdout
        paused(peer, browser)
        assert "goes on" in run("resume", "--dir", str(swarm.folder / "ben")).stdout
        before = peer.figures()["swarm_samples_total"]
        wait_for(lambda: peer.figures()["swarm_samples_total"] > before, "it computes again", 60)
        training(peer, browser)


def idle(peer: Peer, browser: Browser) -> None:
    """It is there, sees the seed, and has done nothing: no rate, no loss, and nothing unhealthy."""
    wait_for(lambda: peer.state() == "waiting" and "swarm_step" in peer.figures(), "it waits for another", 120)
    figures = peer.figures()
    assert figures["swarm_live_peers:seed"] == figures["swarm_live_peers:trainer"] == 1
    assert figures["swarm_step"] == figures["swarm_samples_total"] == figures["swarm_samples_per_second"] == 0
    assert "swarm_loss" not in figures, "an unknown loss is absent"
    assert figures["swarm_rounds_total:missed:timeout"] == 0
    assert {"status": "ok", "state": "waiting", "seconds_since_step": None}.items() <= peer.asked("health").items()
    assert peer.asked("api/v1/swarm")["training"] == 0
    browser.wait(f"{OWN_ROW}.includes('waiting for others')")
    assert browser.text("#words") == "Getting ready: 1 peer here."


def training(peer: Peer, browser: Browser) -> None:
    """Its counters rise, each phase of a step has its time, and what it read adds up."""
    first = peer.figures()
    committed = "swarm_rounds_total:committed:none"
    wait_for(lambda: peer.figures()[committed] >= first[committed] + 3, "three rounds", 60)
    wait_for(lambda: "swarm_loss" in peer.figures() and peer.state() in ("training", "averaging"), "a loss", 20)
    figures = peer.figures()
    assert figures["swarm_samples_per_second"] > 0
    assert 0 < figures["swarm_loss"] < 2 * math.log(300)
    assert figures["swarm_step"] > first["swarm_step"]
    assert figures["swarm_live_peers:trainer"] == figures["swarm_round_group_size"] == 2
    assert figures["swarm_direct_peers"] == 1, "both are on this machine"
    read = sum(figures[f"swarm_language_samples_total:{code}"] for code in ("en", "fr"))
    assert read == figures["swarm_samples_total"] > first["swarm_samples_total"]
    assert sum(figures[f"swarm_tokens_total:{code}"] for code in ("en", "fr")) > 0
    assert figures["swarm_step_seconds_total:compute"] > first["swarm_step_seconds_total:compute"]
    assert figures["swarm_bytes_total:averaging:sent"] > 0 if "swarm_bytes_total:averaging:sent" in figures else True
    health = peer.asked("health")
    assert health["status"] == "ok"
    assert health["state"] in ("training", "averaging")
    assert health["seconds_since_step"] < 30
    wait_for(lambda: peer.asked("api/v1/swarm")["training"] == 2, "its page counts both", 30)
    browser.wait(f"{OWN_ROW}.includes('training')")
    browser.wait("document.querySelector('#words').textContent === 'Healthy: 2 peers training.'")


def paused(peer: Peer, browser: Browser) -> None:
    """It computes nothing and says so, and its steps go on with the swarm's."""
    wait_for(lambda: peer.state() == "paused", "it is paused", 60)
    wait_for(lambda: "swarm_loss" not in peer.figures(), "the last batch that it computed is through", 30)
    first = peer.figures()
    wait_for(lambda: peer.figures()["swarm_step"] >= first["swarm_step"] + 4, "it stays in step", 60)
    figures = peer.figures()
    assert figures["swarm_samples_per_second"] == 0
    assert figures["swarm_samples_total"] == first["swarm_samples_total"], "what was done stays, and no more is done"
    assert figures["swarm_rounds_total:committed:none"] > first["swarm_rounds_total:committed:none"]
    assert figures["swarm_step_seconds_total:wait"] > first["swarm_step_seconds_total:wait"], "resting is no computing"
    assert {"status": "ok", "state": "paused"}.items() <= peer.asked("health").items()
    wait_for(lambda: peer.asked("api/v1/swarm")["me"]["state"] == "paused", "the record says it", 30)
    assert peer.asked("api/v1/swarm")["training"] == 1
    browser.wait(f"{OWN_ROW}.includes('paused')")
    browser.wait("document.querySelector('#words').textContent === 'Healthy: 1 peer training, 1 not yet or paused.'")
