"""`python -m benchmarks.monitoring [--peers 1000]`: what watching a large swarm costs.

The peers are simulated, the rest is real: their records, each signed by an identity of its own, are put into the DHT
by a seed. The `bloomswarm monitor` command reads, verifies and sums them up, with its daemon and its prober, and is
scraped over HTTP. Memory is resident, of all its processes together, pages that they share counted for each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.first_paint import first_paint
from benchmarks.watched import overhead
from swarm.network.directory import Validator, place
from swarm.network.host import Network
from swarm.records import ProgressRecord, seal
from swarm.run.link import Link
from swarm.run.manifest import SignedManifest, parse_config, resolve
from swarm.run.schema import LanguageStock
from swarm.trust.identity import Identity

LANGUAGES = (
    "ar", "bn", "ca", "de", "en", "es", "eu", "fr", "gu", "hi", "id",
    "kn", "ml", "mr", "ne", "pt", "ta", "te", "ur", "vi", "zh",
)  # fmt: skip
GOALS = {
    "scrape_seconds": 0.2,
    "series": 2000,
    "memory_mb": 450,
    "peer_scrape_seconds": 0.02,
    "tell_seconds": 0.01,  # what a step's metrics cost the trainer; 1 % of the shortest step that makes sense, a second
    "first_paint_seconds": 1.0,  # of the page that shows all these peers, in a browser that has just been started
    "overhead_ratio": 0.01,  # of a peer that trains while it is scraped and its page is open
}
LIFETIME_SECONDS = 1800.0
SCRAPES = 15
TOLD_STEPS = 2000


class ManyIdentities(Validator):
    """Signs each record with the identity it speaks for, as the peers themselves would."""

    identities: dict[str, Identity]

    def sign_value(self, record: Any) -> bytes:
        key, peer_id = self._place_of(record)
        return seal(self.identities[peer_id], key, record.value, record.expiration_time)


def main(argv: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measure, print the table, and return the JSON object of the last line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument("--peers", type=int, default=1000)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = {**monitor_of(options.peers), **overhead(Path(folder))}
    result |= {"peer_scrape_seconds": scrape_of_a_peer(), "tell_seconds": cost_of_telling()}
    print(f"{'':22}{'measured':>12}{'goal':>10}")
    for name, goal in GOALS.items():
        value = result[name]
        print(f"{name:22}{'not measured' if value is None else f'{value:.4g}':>12}{goal:>10}")
    print(json.dumps(result))
    return result


def monitor_of(peers: int) -> dict[str, float | None]:
    signed = manifest()
    identities = {each.peer_id: each for each in (Identity.generate() for _ in range(peers))}
    with tempfile.TemporaryDirectory() as folder, Network(Identity.generate(), signed.digest) as seed:
        serve_manifest(seed, signed)
        stored = seed.run(publish(seed, signed.digest, identities))
        assert stored == peers, f"{stored} of {peers} records were stored"
        link = str(Link(signed.digest, tuple(seed.addresses())))
        command = [sys.executable, "-P", "-m", "peers", "monitor", link, "--port", "0", "--dir", folder]
        process = subprocess.Popen(
            [*command, "--log-format", "json", "--probe-private"], stdout=subprocess.PIPE, text=True
        )
        try:
            url = address_of(process)
            wait_for_peers(url, peers)
            return {**scrapes(f"{url}/metrics"), "memory_mb": memory_of(process.pid), **first_paint(f"{url}/")}
        finally:
            process.terminate()
            process.wait(20)


async def publish(seed: Network, digest: str, identities: dict[str, Identity]) -> int:
    """Into the seed's own DHT node; how many it took."""
    validator = ManyIdentities(seed.identity, digest)
    validator.identities = identities
    seed._engine.node.protocol.record_validator = validator
    expiration = time.time() + LIFETIME_SECONDS
    ids = list(identities)
    stored = await seed._engine.node.store_many(
        [place(digest, "progress")] * len(ids),
        [record_of(index).to_bytes() for index in range(len(ids))],
        expiration,
        subkeys=ids,
    )
    return sum(map(bool, stored.values()))


def record_of(index: int) -> ProgressRecord:
    """What a trainer of a run in 21 languages says."""
    return ProgressRecord(
        step=500,
        samples=3,
        total_samples=4000 + index,
        loss=5.0 + index % 7 / 100,
        samples_per_second=2.0 + index % 5 / 10,
        tokens_by_language=dict.fromkeys(LANGUAGES, 1000000 + index),
        loss_by_language=dict.fromkeys(LANGUAGES, 5.1234),
        state="training",
        role="trainer",
        version="0.1.0",
        addresses=("/ip4/127.0.0.1/tcp/9/p2p/" + "12D3KooWGRUfMB6XmqRTcM3WxAmvBbGzKxkZgmvfpP8zhG3mJvcK",),
        clock=time.time(),
        lineage="11" * 8,
        head="22" * 8,
        state_digest="33" * 8,
        digest_step=500,
        rounds={"committed": 500, "timeout": 3, "late": 1},
        checkpoint_step=496,
        memory_bytes=900_000_000,
        disk_free_bytes=10**11,
    )


def manifest() -> SignedManifest:
    owner = Identity.generate()
    stock = LanguageStock(documents=2, text_bytes=900, tokens=300, sequences=2, digest="cd" * 32)
    values = {
        "name": "benchmark",
        "model": {"vocab_size": 300, "hidden_size": 16, "layers": 2, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "folder", "path": "text", "languages": list(LANGUAGES)}]},
        "training": {"steps": 1000, "global_batch": 4096},
    }
    made = resolve(
        parse_config(values, "the benchmark"),
        owner=owner.peer_id,
        created="2026-11-25",
        tokenizer_digest="ab" * 32,
        initial_digest="cd" * 32,
        stock=dict.fromkeys(LANGUAGES, stock),
    )
    return SignedManifest.sign(made, owner)


def serve_manifest(network: Network, signed: SignedManifest) -> None:
    answer = signed.to_json()

    async def give(peer_id: str, request: bytearray) -> bytes:
        return answer

    network.handle("manifest", give, limit_bytes=64)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if (event := json.loads(line))["event"] == "monitor":
            return event["url"]
    raise SystemExit("the monitor did not start")


def wait_for_peers(url: str, peers: int) -> None:
    deadline = time.monotonic() + 120
    while (seen := json.loads(read(f"{url}/api/v1/swarm"))["peers"]["trainer"]) != peers:
        assert time.monotonic() < deadline, f"the monitor sees {seen} of {peers} peers"
        time.sleep(0.5)
    time.sleep(15)  # the prober at work, several looks: the memory of a monitor that has settled


def scrapes(url: str) -> dict[str, float]:
    seconds = []
    for _ in range(SCRAPES):
        began = time.perf_counter()
        text = read(url)
        seconds.append(time.perf_counter() - began)
        time.sleep(0.5)
    series = sum(not line.startswith("#") for line in text.splitlines())
    return {
        "scrape_seconds": round(median(seconds), 4),
        "slowest_scrape_seconds": round(max(seconds), 4),
        "series": series,
    }


def memory_of(pid: int) -> float:
    own = psutil.Process(pid)
    return round(sum(each.memory_info().rss for each in [own, *own.children(recursive=True)]) / 1e6, 1)


def scrape_of_a_peer() -> float:
    """A peer that has trained in 21 languages."""
    from monitoring.exporter import PeerExporter

    with PeerExporter(run="ab" * 32, languages=LANGUAGES, planned_steps=1000) as exporter:
        for step in range(100):
            tell(exporter, step)
        return scrapes(f"{exporter.url}/metrics")["scrape_seconds"]


def cost_of_telling() -> float:
    """What the metrics of one step cost a trainer of 21 languages, one scrape's measuring included."""
    from monitoring.energy import Estimate, Meter
    from monitoring.exporter import PeerExporter

    exporter = PeerExporter(run="ab" * 32, languages=LANGUAGES, planned_steps=1000)
    exporter.instruments.measure_energy(Meter((Estimate(time.process_time, 2),), time.monotonic))
    began = time.perf_counter()
    for step in range(TOLD_STEPS):
        tell(exporter, step)
        exporter.measure()
    return round((time.perf_counter() - began) / TOLD_STEPS, 6)


def tell(exporter: Any, step: int) -> None:
    """What one turn of the trainer's loop tells."""
    from monitoring.exporter import Text

    text = dict.fromkeys(LANGUAGES, Text(1, 50, 5.0))
    exporter.state("training")
    exporter.step(step, 5.0, 8, text=text, seconds={"compute": 1.0, "wait": 0.1, "average": 0.3, "apply": 0.1})
    exporter.round("committed", seconds=0.3, group_size=8, samples=8, codec_error=0.01, codec_cosine=1.0)
    exporter.coverage(dict.fromkeys(LANGUAGES, 0.5))
    exporter.live_peers({"trainer": 8, "seed": 1})


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


if __name__ == "__main__":
    main()
