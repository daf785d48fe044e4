"""Whether there is text to train on shows before anybody is asked to join."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peers.commands.join import suit
from peers.wiring import require_text
from swarm.errors import DataError, IncompatibleError
from swarm.run.link import Link
from swarm.run.manifest import Manifest, SignedManifest, parse_config, resolve
from swarm.settings import Settings
from swarm.trust.identity import Identity
from tests.swarm.run.test_run_manifest import STOCK, tiny

OWNER = Identity.generate()
STARTER = {"kind": "starter", "languages": ["en", "sw"]}
AT_HOME = {"kind": "folder", "path": "texts", "languages": ["en", "sw"]}


def manifest_of(*sources: dict[str, Any], private_share: float = 0.1) -> Manifest:
    config = parse_config(
        {**tiny(), "data": {"sources": list(sources)}, "join": {"private_share": private_share}}, "test.toml"
    )
    digests = {"tokenizer_digest": "ab" * 32, "initial_digest": "ef" * 32}
    return resolve(config, owner=OWNER.peer_id, created="2026-01-31", stock={"en": STOCK, "sw": STOCK}, **digests)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder, codes in (
        ("mine/texts", ("en", "sw")),
        ("half/texts", ("en",)),
        ("own", ("sw", "fr")),
        ("other", ("fr",)),
    ):
        (tmp_path / folder).mkdir(parents=True)
        for code in codes:
            (tmp_path / folder / f"{code}.jsonl").write_text('{"text": "words"}\n')
    return tmp_path


def test_text_that_suits_the_run(home: Path) -> None:
    require_text(manifest_of(STARTER), Settings())
    require_text(manifest_of(AT_HOME), Settings(data=home / "mine"))
    require_text(manifest_of(STARTER), Settings(data=home / "own", private=True))


@pytest.mark.parametrize(
    ("sources", "data", "private", "words"),
    [
        ([STARTER], "mine", False, "the run's text comes with it, --data would not be read"),
        ([STARTER], "nothing", False, "the run's text comes with it"),
        ([AT_HOME], None, False, r"data.sources\[0\] of the run is text on its peers' disks; name your copy"),
        ([AT_HOME], "nothing", False, "nothing"),
        ([AT_HOME], "half", False, "has no text in sw"),
        ([STARTER], "other", True, "has text in fr, the run trains en, sw"),
        ([STARTER], "nothing", True, "nothing"),
    ],
)
def test_text_that_does_not(
    home: Path, sources: list[dict[str, Any]], data: str | None, private: bool, words: str
) -> None:
    settings = Settings(data=home / data if data else None, private=private)
    with pytest.raises(DataError, match=words):
        require_text(manifest_of(*sources), settings)


def test_a_run_that_takes_no_private_text(home: Path) -> None:
    with pytest.raises(IncompatibleError, match="takes no contributions of private text"):
        require_text(manifest_of(STARTER, private_share=0.0), Settings(data=home / "own", private=True))


def test_nobody_is_asked_to_join_without_text(home: Path) -> None:
    asked: list[str] = []
    signed, link = (
        SignedManifest.sign(manifest_of(AT_HOME), OWNER),
        Link("ab" * 32, (f"/ip4/127.0.0.1/tcp/1/p2p/{OWNER.peer_id}",)),
    )
    agree: Any = lambda signed, network, link: asked.append(signed.manifest.name)  # noqa: E731
    with pytest.raises(DataError):
        suit(signed, None, link, settings=Settings(), agree=agree)  # type: ignore[arg-type]
    assert asked == []
    suit(signed, None, link, settings=Settings(data=home / "mine"), agree=agree)  # type: ignore[arg-type]
    assert asked == ["test-run"]
