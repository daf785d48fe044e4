"""Keys as their owner handles them: seen, carried to another machine, never shown and never overwritten."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.trust.identity import Identity
from tests.peers.commands.test_cli import assert_one_line, run

SECRET = "correct horse battery"
PROMPTS = {b"Passphrase: ": SECRET, b"Repeat for confirmation: ": SECRET}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOOMSWARM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(SECRET + "\nanother line\n", encoding="utf-8")
    return str(path)


def typed(answers: dict[bytes, str], *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal of its own and type an answer at each prompt."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "peers", *arguments])
    said, waiting = b"", dict(answers)
    while True:
        try:
            said += os.read(terminal, 1024)
        except OSError:  # the other end of a terminal has closed
            break
        for prompt in [prompt for prompt in waiting if said.endswith(prompt)]:
            os.write(terminal, waiting.pop(prompt).encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode()


def test_all_keys_of_this_machine_are_listed_and_a_bad_one_hides_none(home: Path) -> None:
    assert "no key under" in assert_one_line(run("identity", "show"), 6)
    first = Identity.create(home / "runs" / "aaaa" / "identity.pem")
    second = Identity.create(home / "runs" / "bbbb" / "identity.pem")
    (home / "runs" / "bbbb" / "identity.pem").chmod(0o644)
    shown = run("identity", "show")
    assert shown.returncode == 0, shown.stderr
    assert f"{first.name:24} {first.peer_id}" in shown.stdout
    assert "chmod 600" in shown.stdout
    assert "PRIVATE" not in shown.stdout
    (home / "runs" / "bbbb" / "identity.pem").chmod(0o600)
    told = json.loads(run("identity", "show", "--json").stdout)["identities"]
    assert [each["peer_id"] for each in told] == [first.peer_id, second.peer_id]
    assert "name one with --dir" in assert_one_line(run("identity", "export", "--to", str(home / "x")), 3)


def test_a_key_goes_to_another_machine_encrypted(home: Path, secret: str, tmp_path: Path) -> None:
    identity = Identity.create(home / "runs" / "aaaa" / "identity.pem")
    carried = tmp_path / "key.pem"
    exported = run("identity", "export", "--to", str(carried), "--passphrase-file", secret)
    assert exported.returncode == 0, exported.stderr
    assert identity.peer_id in exported.stdout
    assert carried.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in carried.read_bytes()
    link = f"bloomswarm:{'ab' * 32}?peer=/ip4/127.0.0.1/tcp/1/p2p/{identity.peer_id}"
    taken = run("identity", "import", str(carried), "--link", link, "--passphrase-file", secret)
    assert taken.returncode == 0, taken.stderr
    arrived = home / "runs" / ("ab" * 8) / "identity.pem"
    assert arrived.stat().st_mode & 0o777 == 0o600
    assert Identity.load(arrived).peer_id == identity.peer_id


def test_nothing_is_overwritten(home: Path, secret: str, tmp_path: Path) -> None:
    Identity.create(home / "runs" / "aaaa" / "identity.pem")
    carried, other = tmp_path / "key.pem", Identity.create(tmp_path / "peer" / "identity.pem")
    carried.write_text("precious", encoding="utf-8")
    export = ("identity", "export", "--to", str(carried), "--passphrase-file", secret)
    assert "not overwritten" in assert_one_line(run(*export), 6)
    assert carried.read_text(encoding="utf-8") == "precious"
    carried.unlink()
    assert run(*export).returncode == 0
    line = assert_one_line(
        run("identity", "import", str(carried), "--dir", str(tmp_path / "peer"), "--passphrase-file", secret), 6
    )
    assert "never overwritten" in line
    assert Identity.load(tmp_path / "peer" / "identity.pem").peer_id == other.peer_id


def test_what_is_wrong_is_said(home: Path, secret: str, tmp_path: Path) -> None:
    Identity.create(home / "runs" / "aaaa" / "identity.pem")
    carried, wrong = tmp_path / "key.pem", tmp_path / "wrong"
    assert run("identity", "export", "--to", str(carried), "--passphrase-file", secret).returncode == 0
    wrong.touch(mode=0o600)
    wrong.write_text("something else\n", encoding="utf-8")
    into = ("--dir", str(tmp_path / "new"))
    line = assert_one_line(run("identity", "import", str(carried), *into, "--passphrase-file", str(wrong)), 6)
    assert "wrong passphrase" in line
    wrong.chmod(0o640)
    line = assert_one_line(run("identity", "import", str(carried), *into, "--passphrase-file", str(wrong)), 6)
    assert "chmod 600" in line
    assert "--dir" in assert_one_line(run("identity", "import", str(carried), "--passphrase-file", secret), 3)
    short = tmp_path / "short"
    short.touch(mode=0o600)
    short.write_text("short", encoding="utf-8")
    again = run("identity", "export", "--to", str(tmp_path / "more"), "--passphrase-file", str(short))
    assert "at least 8" in assert_one_line(again, 6)
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "more").exists()


def test_a_passphrase_is_asked_for_twice_and_never_shown(home: Path, tmp_path: Path) -> None:
    identity = Identity.create(home / "runs" / "aaaa" / "identity.pem")
    carried = tmp_path / "key.pem"
    code, said = typed(PROMPTS, "identity", "export", "--to", str(carried))
    assert code == 0, said
    assert said.count("Passphrase") == said.count("Repeat") == 1
    assert SECRET not in said
    assert Identity.import_from(carried, SECRET).peer_id == identity.peer_id
    code, said = typed(PROMPTS, "identity", "import", str(carried), "--dir", str(tmp_path / "new"))
    assert (code, "Repeat" in said) == (0, False), said
    assert Identity.load(tmp_path / "new" / "identity.pem").peer_id == identity.peer_id


def test_without_a_terminal_nobody_is_asked(home: Path, tmp_path: Path) -> None:
    Identity.create(home / "runs" / "aaaa" / "identity.pem")
    command = [sys.executable, "-P", "-m", "peers", "identity", "export", "--to", str(tmp_path / "key.pem")]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert "--passphrase-file" in assert_one_line(result, 3)
    assert not (tmp_path / "key.pem").exists()
