"""A peer's exporter as Prometheus, promtool, a browser and the trainer meet it."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fed_peer import fed_exporter, tell
from live_prometheus import prometheus, require, wait_for
from prometheus_client.parser import text_string_to_metric_families

from monitoring.exporter import PeerExporter, Text, missed_reason
from monitoring.metrics import BY_NAME, of_scope
from monitoring.validate import expressions, query, without_series
from swarm.errors import ResourceError


def get(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
        return response.read().decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if k != "run"))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_with_bounded_labels_are_there_from_the_start_at_zero() -> None:
    with PeerExporter(languages=("en", "hi")) as exporter:
        found = samples(get(exporter.url + "/metrics"))
    assert found["swarm_rounds_total", (("outcome", "missed"), ("reason", "timeout"))] == 0
    assert found["swarm_tokens_total", (("language", "hi"),)] == 0
    assert found["swarm_bytes_total", (("direction", "sent"), ("purpose", "averaging"))] == 0
    assert not [name for name, _ in found if name == "swarm_loss"], "an unknown loss is absent, not zero"


def test_what_the_trainer_tells_is_what_is_scraped() -> None:
    with fed_exporter() as exporter:
        found = samples(get(exporter.url + "/metrics"))
    assert found["swarm_step", ()] == 3
    assert found["swarm_loss", ()] == 8.25
    assert found["swarm_samples_total", ()] == 36
    assert found["swarm_tokens_total", (("language", "hi"),)] == 3 * 500
    assert found["swarm_rounds_total", (("outcome", "committed"), ("reason", "none"))] == 3
    assert found["swarm_rounds_total", (("outcome", "missed"), ("reason", "timeout"))] == 1
    assert found["swarm_bytes_total", (("direction", "sent"), ("purpose", "averaging"))] == 4 * 1000
    assert found["swarm_round_duration_seconds_count", (("outcome", "committed"),)] == 3
    assert found["swarm_live_peers", (("role", "trainer"),)] == 4
    assert found["swarm_direct_peers", ()] == 3
    assert found["swarm_state", (("state", "training"),)] == 1
    assert found["swarm_state", (("state", "paused"),)] == 0


def test_text_from_strangers_never_becomes_a_label() -> None:
    with PeerExporter(languages=("en",)) as exporter:
        exporter.step(1, 1.0, 1, text={'en"} evil{x="': Text(1, 7)}, seconds={"compute": 1.0})
        exporter.round("missed", "12D3KooWPeer at /ip4/1.2.3.4: did not answer")
        exporter.rejected("whatever they sent")
        text = get(exporter.url + "/metrics")
    assert "evil" not in text
    assert "12D3" not in text
    found = samples(text)
    assert found["swarm_tokens_total", (("language", "other"),)] == 7
    assert found["swarm_rounds_total", (("outcome", "missed"), ("reason", "other"))] == 1
    assert found["swarm_rejected_total", (("reason", "other"),)] == 1


def test_the_network_s_own_count_wins_over_what_rounds_add_up() -> None:
    with PeerExporter() as exporter:
        exporter.bytes_total("sent", "averaging", 5000)
        exporter.round("committed", bytes_sent=100, bytes_received=70)
        exporter.bytes_total("sent", "averaging", 4000)  # a restarted network counts from zero; a counter never falls
        found = samples(get(exporter.url + "/metrics"))
    assert found["swarm_bytes_total", (("direction", "sent"), ("purpose", "averaging"))] == 5000
    assert found["swarm_bytes_total", (("direction", "received"), ("purpose", "averaging"))] == 70


def test_a_fed_exporter_exports_every_peer_metric_of_the_table_and_nothing_else() -> None:
    with fed_exporter() as exporter:
        text = get(exporter.url + "/metrics")
    names = {family.name for family in text_string_to_metric_families(text)}
    names = {f"{name}_total" if f"{name}_total" in BY_NAME else name for name in names}
    assert names == {metric.name for metric in of_scope("peer") if not metric.gpu}


def test_promtool_has_no_complaint() -> None:
    promtool = require("promtool")
    with fed_exporter() as exporter:
        text = get(exporter.url + "/metrics")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_health_says_stalled_when_a_training_peer_makes_no_step() -> None:
    now = [1000.0]
    with PeerExporter(clock=lambda: now[0]) as exporter:
        assert json.loads(get(exporter.url + "/health"))["status"] == "ok"
        tell(exporter, 1)
        now[0] += 10_000
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(exporter.url + "/health")
        assert refused.value.code == 503
        assert json.loads(refused.value.read()) == {
            "status": "stalled",
            "state": "training",
            "detail": "",
            "clock_skew_seconds": None,
            "step": 1,
            "seconds_since_step": 10_000.0,
            "version": "0.1.0",
            "run": "none",
        }
        exporter.state("paused")
        assert json.loads(get(exporter.url + "/health"))["status"] == "ok", "a paused peer is not ill"


def test_a_peer_that_rests_or_hangs_has_no_speed_and_says_its_state() -> None:
    now = [1000.0]
    with PeerExporter(clock=lambda: now[0]) as exporter:
        idle = samples(get(exporter.url + "/metrics"))
        assert (idle["swarm_samples_per_second", ()], idle["swarm_state", (("state", "assembling"),)]) == (0, 1)
        assert ("swarm_loss", ()) not in idle
        assert ("swarm_step", ()) not in idle, "not known is not 0"
        exporter.before_scrape = lambda: exporter.waits_at(500)
        assert samples(get(exporter.url + "/metrics"))["swarm_step", ()] == 500, "it waits for others at its checkpoint"
        tell(exporter, 501)
        training = samples(get(exporter.url + "/metrics"))
        assert training["swarm_samples_per_second", ()] == pytest.approx(12 / 1.55)
        assert training["swarm_state", (("state", "training"),)] == 1
        exporter.state("paused")
        paused = samples(get(exporter.url + "/metrics"))
        assert paused["swarm_samples_per_second", ()] == 0
        assert (paused["swarm_state", (("state", "paused"),)], paused["swarm_state", (("state", "training"),)]) == (
            1,
            0,
        )
        assert paused["swarm_samples_total", ()] == 12, "what was done stays done"
        exporter.state("training")
        now[0] += 1200
        assert samples(get(exporter.url + "/metrics"))["swarm_samples_per_second", ()] == pytest.approx(0.01)
        exporter.step(502, None, 0, text={}, seconds={"wait": 1.0})
        later = samples(get(exporter.url + "/metrics"))
        assert later["swarm_step", ()] == 502, "it stays in step, and is not called one that waits at 500"
        assert not [name for name, _ in later if name in ("swarm_loss", "swarm_language_loss")], "no loss of long ago"


def test_only_this_machine_is_answered_on_loopback() -> None:
    with PeerExporter() as exporter:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(exporter.url + "/metrics", Host="rebound.example")
        assert refused.value.code == 403
        assert "swarm_" in get(exporter.url + "/metrics", Host=f"localhost:{exporter.port}")


def test_a_port_that_is_taken_is_one_clear_line_and_a_closed_one_is_free_again() -> None:
    with PeerExporter() as exporter:
        port = exporter.port
        with pytest.raises(ResourceError, match=f"port {port} on 127.0.0.1 cannot be used: .*; choose another port"):
            PeerExporter(port).start()
    with PeerExporter(port) as again:
        assert again.port == port
    with socket.socket() as unused:
        assert unused.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("text", "label"),
    [("timeout: 3 of 5 answered", "timeout"), ("Quorum", "quorum"), ("", "other"), ("host lost", "other")],
)
def test_reasons_are_cut_to_the_table_s_words(text: str, label: str) -> None:
    assert missed_reason(text) == label


@pytest.mark.real
@pytest.mark.slow
def test_prometheus_scrapes_a_peer_and_every_panel_has_a_series(tmp_path: Path) -> None:
    with fed_exporter() as exporter, prometheus(tmp_path, {"peers": [f"127.0.0.1:{exporter.port}"]}) as url:
        wait_for(lambda: query(url, "count_over_time(swarm_step[1m]) > 2"), "three scrapes")
        tell(exporter, 4)
        wait_for(lambda: query(url, "swarm_step == 4"), "the next step scraped")
        ours = [each for each in without_series(url) if each.dashboard == "volunteer"]
    assert [(each.panel, each.promql) for each in ours] == []
    assert len([each for each in expressions() if each.dashboard == "volunteer"]) > 15
