"""`bloomswarm replay` on what a real swarm of two left behind: each checks the other, and lies are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peers.cli import main
from swarm.averaging.live.kept import kept
from swarm.trust.identity import Identity
from tests.peers.real_swarm import make_run, swarm_of
from tests.peers.swarm_demo import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("swarm")
    with swarm_of(folder, make_run(folder, steps=10, batch=64)) as swarm:
        swarm.seed()
        peers = [swarm.join(name, "--wait-for", "2") for name in ("a", "b")]
        wait_until(lambda: all("finished" in peer.latest for peer in peers), 200, "both reach the end")
    return {name: folder / name for name in ("a", "b")}


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit code, and what was said: the answer, or the error's one line."""
    try:
        main(["replay", *map(str, words)])
    except SystemExit as ended:
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1, error
        return int(ended.code or 0), error
    return 0, capsys.readouterr().out.strip()


def test_each_can_check_itself_and_the_other(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for run, whose in (("a", "a"), ("a", "b"), ("b", "a")):
        peer = Identity.load(folders[whose] / "identity.pem").peer_id
        code, said = asked(
            capsys,
            folders[run],
            "--peer",
            peer[-8:],
            "--sent",
            folders[whose],
            "--step",
            8,
            "--device",
            "cpu",
            "--json",
        )
        assert code == 0, said
        verdict = json.loads(said.splitlines()[-1])
        assert verdict["same"] is True
        assert verdict["peer"] == peer
        assert verdict["relative_error"] < 0.05
        assert verdict["cosine"] > 0.998


def test_lies_and_mistakes_are_one_line_each(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = Identity.load(folders["b"] / "identity.pem").peer_id
    code, said = asked(capsys, folders["a"], "--step", 8, "--peer", other)
    assert (code, f"name the folder of {other} with --sent" in said) == (3, True), said
    code, said = asked(capsys, folders["a"], "--step", 8, "--tolerance", 0.0001)
    assert (code, "did not give what the plan says" in said) == (11, True), said
    code, said = asked(capsys, folders["a"], "--step", 9)
    assert (code, "keeps no contribution to step 9" in said) == (3, True), said
    code, said = asked(capsys, folders["a"], "--step", 8, "--peer", "nobody")
    assert (code, "names 0 peers" in said) == (3, True), said
    assert asked(capsys, tmp_path)[0] == 3
    path = dict(kept(folders["b"] / "contributions"))[8]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, said = asked(capsys, folders["a"], "--step", 8, "--peer", other, "--sent", folders["b"])
    assert (code, "is not what it gave" in said) == (11, True), said
