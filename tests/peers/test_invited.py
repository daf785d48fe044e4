"""A run of invited people, with real peers: who is invited trains, who is not is told so, who is revoked leaves."""

from __future__ import annotations

import json
import shlex
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.cli import main
from peers.owner.guest_book import GuestBook
from peers.run_folder import RunFolder
from swarm.errors import ConfigError
from swarm.run.manifest import LanguageStock, SignedManifest, parse_config, resolve
from swarm.trust.admission import Admission
from swarm.trust.identity import Identity
from tests.docs.test_readme import INVITED as README_LINES
from tests.docs.test_readme import ROOT
from tests.peers.commands.test_cli import assert_one_line, run
from tests.peers.real_swarm import CONFIG, LOOPBACK, RealSwarm, make_run, step_of, swarm_of, wait_for

INVITED = 'quorum = "two-thirds"\n[join]\npolicy = "invited"'
WITHIN_SECONDS = 30.0  # from `revoke` on, as it says itself


def invite(swarm: RealSwarm, name: str, *options: str) -> str:
    """Make this peer's key and invite it; its id."""
    peer_id = Identity.load_or_create(swarm.folder / name / "identity.pem").peer_id
    said = run("invite", str(swarm.run), peer_id, "--json", *options)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["peer_id"] == peer_id
    return peer_id


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[RealSwarm]:
    with swarm_of(tmp_path, make_run(tmp_path, averaging=INVITED)) as swarm:
        yield swarm


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_invited_peers_train_and_nobody_else(swarm: RealSwarm) -> None:
    ids = {name: invite(swarm, name) for name in ("a", "b", "c")}
    seed = swarm.seed()
    peers = {name: swarm.join(name, "--wait-for", "2") for name in ("a", "b")}
    wait_for(lambda: all(step_of(peer) >= 2 for peer in peers.values()), 120, "rounds", *peers.values())

    arguments = ("join", swarm.link, "--yes", "--dir", str(swarm.folder / "x"), *LOOPBACK)
    said = assert_one_line(run(*arguments), 13)
    stranger = Identity.load(swarm.folder / "x" / "identity.pem").peer_id
    assert f"bloomswarm invite RUN {stranger}" in said

    peers["c"] = swarm.join("c")
    helper = invite(swarm, "helper") and swarm.assist("helper")  # while the seed runs
    all_in = [*peers.values(), helper]
    wait_for(lambda: all(step["group"] == 4 for peer in all_in for step in peer.steps[-1:]), 120, "four", *all_in)
    wait_for(lambda: bool(swarm.same("a", "b", "c")), 60, "a checkpoint of all", *all_in)

    began = time.monotonic()
    assert run("revoke", str(swarm.run), ids["c"]).returncode == 0
    wait_for(lambda: peers["c"].ended, WITHIN_SECONDS, "the revoked peer leaves", peers["c"])
    assert peers["c"].process.returncode == 13
    assert "has revoked" in peers["c"].last_words()
    a = peers["a"]
    wait_for(lambda: a.steps[-1].get("group") == 3, WITHIN_SECONDS - (time.monotonic() - began), "a round without", a)
    assert_one_line(run(*(*arguments[:4], str(swarm.folder / "c"), *LOOPBACK)), 13)
    met = step_of(a)
    wait_for(lambda: step_of(a) >= met + 4, 60, "the others go on", a, helper, seed)


def folder_of(place: Path, policy: str) -> Path:
    """A run's folder as far as the owner's commands look at it."""
    place.mkdir()
    owner = Identity.create(place / "owner.pem")
    averaging = {"algorithm": "round", "quorum": "two-thirds"}
    values = {
        "name": "test",
        "model": {"vocab_size": 1024, "hidden_size": 32, "layers": 1, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "starter", "licence": "CC0-1.0"}]},
        "training": {"steps": 100, "global_batch": 8},
        "averaging": averaging,
        "join": {"policy": policy},
    }
    stock = {"en": LanguageStock(documents=1, text_bytes=1, tokens=100, sequences=6, digest="0" * 64)}
    digests = {"tokenizer_digest": "1" * 64, "initial_digest": "2" * 64}
    manifest = resolve(parse_config(values, "test"), owner=owner.peer_id, created="2026-01-31", stock=stock, **digests)
    (place / "manifest.json").write_bytes(SignedManifest.sign(manifest, owner).to_json())
    return place


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """What the command line says, on its one line."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_the_commands_refuse_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guest = Identity.generate().peer_id
    assert "anyone may join" in refused(capsys, 3, "invite", str(folder_of(tmp_path / "open", "open")), guest)
    place = folder_of(tmp_path / "closed", "invited")
    assert "not a peer id" in refused(capsys, 2, "invite", str(place), "12D3KooWnobody")
    assert "days" in refused(capsys, 2, "invite", str(place), guest, "--days", "0")
    (place / "owner.pem").rename(place / "elsewhere.pem")
    assert "owner.pem" in refused(capsys, 6, "revoke", str(place), guest)
    Identity.create(place / "owner.pem")
    assert "the run's owner is another" in refused(capsys, 6, "invite", str(place), guest)
    (place / "invitations").write_text(f"{guest} {'00' * 80}\n", encoding="utf-8")
    (place / "elsewhere.pem").replace(place / "owner.pem")
    assert "line 1" in refused(capsys, 3, "invite", str(place), guest)
    (place / "invitations").write_text("x" * 2_000_000, encoding="utf-8")
    assert "larger than" in refused(capsys, 3, "invite", str(place), guest)
    (place / "invitations").unlink()
    (place / "revocations").write_text("00" * 80, encoding="utf-8")
    assert "not a list of this run's owner" in refused(capsys, 3, "revoke", str(place), guest)


def test_the_owners_book_says_who_is_in_after_any_order_of_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, guest = folder_of(tmp_path / "run", "invited"), Identity.generate().peer_id
    signed = RunFolder(place).manifest()

    def typed(*arguments: str) -> str | None:
        """Type it; what a seed that reads the folder then thinks of the guest."""
        main([arguments[0], str(place), guest, *arguments[1:]])
        book, door = GuestBook(place, signed), Admission(signed.digest, signed.manifest.owner)
        for peer, held in book.invitations().items():
            assert door.invited(peer, held.to_bytes())
        door.take(book.revocations().data)
        return door.refusal(guest)

    assert typed("revoke") == "not_invited"
    assert "knew of no invitation" in capsys.readouterr().out
    for words, expected in [
        (("invite", "--days", "2"), None),
        (("invite",), None),
        (("revoke",), "revoked"),
        (("revoke",), "revoked"),
        (("invite",), None),
        (("revoke", "--json"), "revoked"),
    ]:
        assert typed(*words) == expected, words


def test_an_invited_run_needs_the_larger_quorum(tmp_path: Path) -> None:

    from swarm.run.manifest import parse_config

    text = CONFIG.format(name="small", steps=10, batch=8, training="", averaging='[join]\npolicy = "invited"')
    with pytest.raises(ConfigError, match=r'averaging\.quorum = "two-thirds"'):
        parse_config(tomllib.loads(text), "small.toml")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_commands_of_the_readme_work_as_written(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for line in README_LINES:
        done = run(*shlex.split(line)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{line}: {done.stderr}"
