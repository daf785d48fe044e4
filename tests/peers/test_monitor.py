"""`bloomswarm monitor` over real peers on loopback: what it shows, survives, and that it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from peers.owner.amendments import Amendments
from swarm.network.host import Network
from swarm.records import ProgressRecord
from swarm.run.amendment import amend, with_changes
from swarm.run.link import Link
from swarm.run.manifest import RunConfig, SignedManifest, parse_config, resolve
from swarm.run.schema import LanguageStock
from swarm.trust.identity import Identity
from swarm.trust.peer_id import friendly_name
from tests.peers.swarm_demo import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
STOCK = LanguageStock(documents=2, text_bytes=900, tokens=300, sequences=2, digest="cd" * 32)


def config(steps: int = 40) -> RunConfig:
    return parse_config(
        {
            "name": "test-run",
            "model": {"vocab_size": 300, "hidden_size": 16, "layers": 2, "heads": 2, "sequence_length": 16},
            "data": {"sources": [{"kind": "starter", "languages": ["en", "sw"]}]},
            "training": {"steps": steps, "global_batch": 8},
        },
        "the test",
    )


def signed_manifest(owner: Identity | None = None) -> SignedManifest:
    owner = owner or Identity.generate()
    manifest = resolve(
        config(),
        owner=owner.peer_id,
        created="2026-11-25",
        tokenizer_digest="ab" * 32,
        initial_digest="cd" * 32,
        stock={"en": STOCK, "sw": STOCK},
    )
    return SignedManifest.sign(manifest, owner)


class Peer:
    """A real peer with a daemon of its own that says what we want it to say."""

    def __init__(self, signed: SignedManifest, *seeds: str, identity: Identity | None = None, port: int = 0) -> None:
        self.network = Network(
            identity or Identity.generate(),
            signed.digest,
            initial_peers=seeds,
            listen=(f"/ip4/127.0.0.1/tcp/{port}",),
        ).start()
        offer_manifest(self.network, signed)

    def say(self, role: str, **values: Any) -> None:
        addresses = tuple(self.network.addresses())
        record = ProgressRecord(role=role, version="0.1.0", addresses=addresses, clock=time.time(), **values)
        assert self.network.publish("progress", record.to_bytes(), 30.0)


def offer_manifest(network: Network, signed: SignedManifest) -> None:
    answer = signed.to_json()

    async def give(peer_id: str, request: bytearray) -> bytes:
        return answer

    network.handle("manifest", give, limit_bytes=64)


@contextmanager
def monitor(link: str, folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The real command, and the address of its page."""
    command = [sys.executable, "-P", "-m", "peers", "monitor", link, "--port", "0", "--dir", str(folder)]
    folder.mkdir(exist_ok=True)
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--log-format", "json", *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if (event := json.loads(line))["event"] == "monitor":
                break
        else:
            pytest.fail((folder / "stderr").read_text()[-2000:])
        yield process, event["url"]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20)
        process.stdout.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def swarm(url: str) -> Any:
    return get(url + "/api/v1/swarm")


def metrics(url: str) -> str:
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_a_real_swarm_is_watched_probed_lost_and_found_again(tmp_path: Path) -> None:
    signed = signed_manifest()
    seed_identity = Identity.generate()
    seed = Peer(signed, identity=seed_identity)
    address = seed.network.addresses()[0]
    port = int(address.split("/")[4])
    trainers = [Peer(signed, address) for _ in range(2)]
    link = str(Link(signed.digest, (address,)))

    def say(step: int) -> None:
        seed.say("seed", step=0, state="serving")
        for number, trainer in enumerate(trainers):
            trainer.say("trainer", step=step, state="training", loss=5.0 + number, total_samples=4 * step)

    say(1)
    with monitor(link, tmp_path / "monitor", "--probe-private") as (process, url):
        wait_until(lambda: swarm(url)["peers"]["trainer"] == 2, 30, "both trainers seen")
        say(2)
        wait_until(lambda: swarm(url)["step"] == 2, 30, "the next step seen")
        names = {row["name"] for row in get(url + "/api/v1/peers")["peers"]}
        assert names >= {friendly_name(each.network.peer_id) for each in (seed, *trainers)}
        assert swarm(url)["peers"]["monitor"] == 1
        wait_until(lambda: reached(url) == 3.0, 60, "three peers reached from outside")
        assert psutil.Process(process.pid).children(), "the daemon and the prober"
        for each in (seed, *trainers):
            each.network.close()
        wait_until(lambda: [p["problem"] for p in swarm(url)["problems"]][:1] == ["no-peers"], 90, "nobody left")
        seed = Peer(signed, identity=seed_identity, port=port)
        seed.say("seed", step=0, state="serving")
        children = psutil.Process(process.pid).children(recursive=True)
    assert process.returncode == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    with monitor(link, tmp_path / "monitor", "--no-probe") as (_, url):
        assert swarm(url)["step"] == 2, "a restarted monitor knows where the swarm was"
    seed.network.close()


def reached(url: str) -> float:
    for line in metrics(url).splitlines():
        if line.startswith("swarm_probe_peers{") and 'result="reachable"' in line:
            return float(line.split()[-1])
    return 0.0


def test_a_monitor_of_a_swarm_that_is_gone_still_shows_what_it_knew(tmp_path: Path) -> None:
    signed = signed_manifest()
    folder = tmp_path / "monitor"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(signed.to_json())
    nobody = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}"
    with monitor(str(Link(signed.digest, (nobody,))), folder, "--no-probe") as (_, url):
        wait_until(lambda: "directory-failing" in {p["problem"] for p in swarm(url)["problems"]}, 40, "told")
        assert swarm(url)["run"]["name"] == "test-run"


@pytest.mark.slow
def test_a_monitor_hears_of_an_amendment_and_does_not_call_a_longer_run_finished(tmp_path: Path) -> None:
    owner = Identity.generate()
    signed = signed_manifest(owner)
    longer = with_changes(signed.manifest, config(steps=90), dict.fromkeys(("en", "sw"), STOCK))
    seed = Peer(signed)
    versions = Amendments(tmp_path / "seed", signed.manifest)
    versions.keep(amend(signed.manifest, (), longer, 30, owner))
    versions.serve(seed.network)
    address = seed.network.addresses()[0]
    trainer = Peer(signed, address)
    seed.say("seed", step=0, state="serving", amendments=1)
    trainer.say("trainer", step=60, state="training", loss=5.0, total_samples=480, amendments=1)
    with monitor(str(Link(signed.digest, (address,))), tmp_path / "monitor", "--no-probe") as (_, url):
        wait_until(lambda: swarm(url)["steps"] == 90, 60, "the amendment counts")
        wait_until(lambda: swarm(url)["step"] == 60, 30, "the step past the first version's end")
        assert not swarm(url)["finished"]
        assert 'swarm_run_planned_steps{run="' + signed.digest[:16] + '"} 90.0' in metrics(url)
        assert "claims-implausible" not in {each["problem"] for each in swarm(url)["problems"]}
    for each in (seed, trainer):
        each.network.close()
