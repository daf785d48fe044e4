"""`status` and `report` as a volunteer uses them, and what a report must not hold."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitoring.exporter import PeerExporter
from peers.commands.report import report
from peers.telling import redaction
from peers.telling.events import Events
from peers.telling.redaction import redact
from peers.telling.reporter import Reporter
from swarm.trust.identity import Identity
from swarm.trust.peer_id import friendly_name
from tests.peers.commands.test_cli import assert_one_line, run

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
        assert "pauses after what it computes now" in run("pause", "--dir", str(folder)).stdout
        assert run("resume", "--dir", str(folder)).stdout == "peer: goes on\n"
    assert "does not run, and will be paused when it does" in run("pause", "--dir", str(folder)).stdout
    assert "is not paused any more, and does not run" in run("resume", "--dir", str(folder)).stdout
    after = run("status", "--dir", str(folder)).stdout
    assert "not running" in after
    assert "step 449" in after
    assert "bloomswarm join" in after


def test_status_says_what_is_true_while_nobody_gives_the_state(tmp_path: Path) -> None:
    """Not that it is being fetched."""
    with PeerExporter() as exporter:
        folder = peer_folder(tmp_path / "peer", exporter.port)
        reporter: Any = SimpleNamespace(state=exporter.state, exporter=exporter)
        Reporter.lacks_state(reporter, 3)
        line = run("status", "--dir", str(folder)).stdout
    assert line.startswith("peer: lagging and none of the others here (3) gives it the run's state now (ok), step 0")
    assert "What to do: it asks again by itself" in line


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


PEM = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAOcrn9g"
SECRETS = {  # what is planted in a log: the part of it that must not be in the report
    "the other's home /home/maria/bloom/x.py": "maria",
    "on a Mac /Users/Maria Luisa/x": "/Users/Maria",
    "in Windows C:\\Users\\maria\\x": "maria",
    "an IPv4 203.0.113.77": "203.0.113",
    "with a port 203.0.113.77:31337.": "203.0.113",
    "an IPv6 fe80::1%eth0": "fe80",
    "one more ::ffff:203.0.113.77": "203.0.113",
    "in brackets [2001:db8:0:1::7]:80": "2001:db8",
    "a card 02:42:ac:11:00:02": "02:42",
    f"a peer {STRANGER} went": STRANGER,
    "an address /ip4/203.0.113.77/tcp/1": "/ip4/",
    f"a name /dns4/maria.example/tcp/1/p2p/{STRANGER}": "maria",
    f"a link bloomswarm:{'ab' * 32}?peer=%2Fip4%2F203.0.113.77%2Ftcp%2F1&peer=/dns/maria.example/tcp/1": "maria",
    "a link again ?peer=%2Fip4%2F203.0.113.77%2Ftcp%2F1": "203.0.113",
    "of the Hub hf_abcdefghijklmnopqrst": "hf_abc",
    "of GitHub ghp_abcdefghijklmnopqrst": "ghp_abc",
    "a header Authorization: Bearer abcdef123456": "abcdef123456",
    "a setting HF_TOKEN=abcdef123456": "abcdef123456",
    'in JSON {"api_key": "abcdef123456"}': "abcdef123456",
    "typed --password abcdef123456": "abcdef123456",
    "a web token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def": "eyJ",
    "in a URL https://maria:hunter22@example.net/x": "hunter22",
    "a mail maria.k+x@example.org": "example.org",
    f"-----BEGIN PRIVATE KEY-----\n{PEM}\n-----END PRIVATE KEY-----": PEM,
    f"its end is missing -----BEGIN OPENSSH PRIVATE KEY-----\n{PEM}": PEM,
    "bare MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAOcrn9gAB==": "MC4C",
    "by zoë-who runs it": "zoë",
    "of machine Vega.zoes.example here": "Vega",
    "and VEGA again": "VEGA",
}


def test_each_secret_planted_in_a_log_and_in_an_event_is_not_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction.getpass, "getuser", lambda: "zoë")
    monkeypatch.setattr(redaction.socket, "gethostname", lambda: "vega.zoes.example")
    folder = tmp_path / "peer"
    folder.mkdir()
    events = Events("json", folder, (tmp_path / "out").open("w"))
    for text in SECRETS:
        events("note", text)
    (folder / "peer.log").write_text("".join(f"{text}\n(next)\n" for text in SECRETS), encoding="utf-8")
    text = "".join(report([folder]))
    assert text.count("(next)") == len(SECRETS), "the rest of the log is there"
    assert not [planted for planted, secret in SECRETS.items() if secret.casefold() in text.casefold()]
    assert json.dumps("zoë")[1:-1] not in text
    assert friendly_name(STRANGER) in text, "peers can still be told apart"


def test_a_user_without_a_name_and_one_endless_line_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(redaction.getpass, "getuser", nobody)
    for piece in ("a", "_", ":", "1.", "a@", "-----BEGIN A-----", "/home/", "token="):
        began = time.monotonic()
        redact(piece * (60_000 // len(piece)))
        assert time.monotonic() - began < 5, piece


def test_json_lines_tell_run_step_and_round(tmp_path: Path) -> None:
    stream = (tmp_path / "out").open("w+")
    events = Events("json", tmp_path, stream)
    events.about(run="3fa2", step=7, round=8)
    events("note", "words\nof two lines", outcome="missed")
    stream.seek(0)
    (line,) = stream.read().splitlines()
    told = json.loads(line)
    assert {"run": "3fa2", "step": 7, "round": 8, "event": "note", "outcome": "missed"}.items() <= told.items()
    assert json.loads((tmp_path / "events.jsonl").read_text()) == told
