"""`status` and `report` as a volunteer uses them, and what a report must not hold."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

from monitoring.exporter import PeerExporter
from peers.events import Events
from peers.report import redact
from swarm.identity import Identity
from tests.peers.test_cli import assert_one_line, run

STRANGER = Identity.generate().peer_id


def peer_folder(folder: Path, port: int) -> Path:
    folder.mkdir()
    with (folder / "out").open("w") as stream:
        events = Events("json", folder, stream)
        events("metrics", "Metrics of this peer", url="", port=port)
        for step in range(450):
            events(
                "step", f"step {step}: lost /ip4/198.51.100.7/tcp/4001/p2p/{STRANGER} at 198.51.100.7:4001", step=step
            )
    Identity.create(folder / "identity.pem")
    (folder / "peer.log").write_text(
        f"{Path.home()}/x of {getpass.getuser()}, token hf_abcdefghijklmnop, fe80::1:2:3\n"
    )
    return folder


def test_status_of_a_running_peer_and_of_one_that_ended(tmp_path: Path) -> None:
    with PeerExporter() as exporter:
        folder = peer_folder(tmp_path / "peer", exporter.port)
        exporter.state("paused")
        result = run("status", "--dir", str(folder))
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("peer: paused (ok), step 0")
        assert "bloomswarm resume" in result.stdout
        told = json.loads(run("status", "--dir", str(folder), "--json").stdout)["peers"][0]
        assert (told["state"], told["port"]) == ("paused", exporter.port)
    after = run("status", "--dir", str(folder)).stdout
    assert "not running" in after
    assert "step 449" in after
    assert "bloomswarm join" in after


def test_status_where_no_peer_ever_ran(tmp_path: Path) -> None:
    assert "is not a peer's folder" in assert_one_line(run("status", "--dir", str(tmp_path)), 3)
    assert_one_line(run("status", "nonsense"), 5)


def test_a_report_holds_what_led_up_and_nothing_secret(tmp_path: Path) -> None:
    folder = peer_folder(tmp_path / "peer", 1)
    result = run("report", "--dir", str(folder), "--to", str(tmp_path / "report.txt"))
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "report.txt").read_text()
    steps = [line for line in text.splitlines() if '"event": "step"' in line]
    assert len(steps) == 200
    assert '"step": 449' in steps[-1]
    for secret in ("198.51.100.7", "/ip4/", "hf_abcdef", "fe80", "PRIVATE KEY", str(Path.home()) + "/"):
        assert secret not in text, secret
    assert "hivemind 1.1.12" in text


def test_redaction_keeps_times_and_versions() -> None:
    kept = "2026-11-25 13:29:48 step 12/40 version 0.1.0 loss 5.25 digest 3fa2b1"
    assert redact(kept) == kept
    told = "[2001:db8::1]:4001 and /dns4/home.example/tcp/1/p2p/x, me@example.org"
    assert redact(told) == "[[address]]:4001 and [address], [mail]"
    assert "MIG" not in redact("-----BEGIN PRIVATE KEY-----\nMIGabc\n-----END PRIVATE KEY-----")
