"""The manifest: its digest is the run, its signature the owner's word, and whatever is wrong with it is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm import __version__
from swarm.errors import ConfigError, DataError, IncompatibleError, LinkError, SwarmError
from swarm.run.manifest import (
    MAX_MANIFEST_BYTES,
    PROTOCOL,
    LanguageStock,
    Manifest,
    SignedManifest,
    diff,
    incompatible,
    parse_config,
    resolve,
)
from swarm.run.portable import portable
from swarm.trust.identity import Identity

OWNER = Identity.generate()
STOCK = LanguageStock(documents=2, text_bytes=900, tokens=300, sequences=2, digest="cd" * 32)


def tiny() -> dict[str, Any]:
    """A hand-written configuration as plain values, fresh each time."""
    return {
        "name": "test-run",
        "model": {"vocab_size": 300, "hidden_size": 16, "layers": 2, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "starter", "languages": ["en", "sw"]}]},
        "training": {"steps": 20, "global_batch": 4},
    }


@pytest.fixture
def values() -> dict[str, Any]:
    return tiny()


@pytest.fixture(scope="module")
def owner() -> Identity:
    return OWNER


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    config = parse_config(tiny(), "test.toml")
    digests = {"tokenizer_digest": "ab" * 32, "initial_digest": "ef" * 32}
    stock = {"en": STOCK, "sw": STOCK}
    return resolve(config, owner=OWNER.peer_id, created="2026-01-31", stock=stock, **digests)


@pytest.fixture(scope="module")
def signed(manifest: Manifest, owner: Identity) -> SignedManifest:
    return SignedManifest.sign(manifest, owner)


def test_the_digest_is_the_same_whatever_the_order_and_the_spelling_of_numbers(values: dict[str, Any]) -> None:
    other = dict(reversed(values.items()))
    other["optimizer"] = {"weight_decay": 0.10, "learning_rate": 1.0e-3, "clip_norm": 1}
    one, two = parse_config(values, "a"), parse_config(other, "b")
    assert one == two
    assert isinstance(two.optimizer.clip_norm, float)


def test_the_digest_is_pinned(manifest: Manifest) -> None:
    """It is in every link: if this changes, so does the identity of every run (say so in the CHANGELOG's wire part)."""
    fixed = manifest.model_copy(
        update={"owner": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN", "version": "0.1.0"}
    )
    assert fixed.canonical().startswith(
        b'{"averaging":{"aggregator":"weighted-mean@1","algorithm":"round","codec":"int8-block@1","quorum":"majority"'
    )
    assert fixed.digest == "ee7af1dd1fdd6cfac90abe3a3e39cbf65e709da29257d8c537ea4a7a83191568"


def test_signed_sent_and_read_again(signed: SignedManifest) -> None:
    again = SignedManifest.from_json(signed.to_json())
    assert again == signed
    assert again.manifest.digest == signed.digest
    assert again.to_json() == signed.to_json()
    assert again.expect(signed.digest) is again
    with pytest.raises(LinkError, match="the link names " + "00" * 32):
        again.expect("00" * 32)


def changed(signed: SignedManifest, path: str, value: object) -> bytes:
    outer = json.loads(signed.to_json())
    *folders, last = path.split(".")
    place = outer
    for folder in folders:
        place = place[int(folder)] if isinstance(place, list) else place[folder]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(outer).encode()


def refused(data: bytes, kind: type[SwarmError] = ConfigError) -> str:
    with pytest.raises(kind) as error:
        SignedManifest.from_json(data, "manifest.json")
    message = str(error.value)
    assert message.startswith("manifest.json: ")
    assert message.isprintable()
    assert len(message) < 600
    return message


def test_an_altered_manifest_is_refused(signed: SignedManifest, owner: Identity) -> None:
    assert "signature is not that of its owner" in refused(changed(signed, "manifest.optimizer.learning_rate", 0.5))
    assert "signature is not that of its owner" in refused(
        changed(signed, "manifest.owner", Identity.generate().peer_id)
    )
    assert "signature is not that of its owner" in refused(changed(signed, "signature", "00" * 64))
    forged = SignedManifest(signed.manifest, Identity.generate().sign(signed.manifest.canonical()))
    assert "signature is not that of its owner" in refused(forged.to_json())
    bare = SignedManifest(signed.manifest, owner.sign(signed.manifest.canonical()))
    assert "signature is not" in refused(bare.to_json()), "a signature made for another purpose"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("manifest.owner", "nobody", "manifest: owner 'nobody' is not a peer id"),
        ("manifest.created", "yesterday", "write it as 2026-01-31"),
        ("manifest.created", "20260131", "write it as 2026-01-31"),
        ("manifest.description", "nice\x1b]0;run\x07", "description: 'nice\\x1b]0;run\\x07' holds control"),
        ("manifest.licence", "MIT\nRun it", "write one plain line"),
        ("manifest.version", "new", 'write a version such as "0.1.0"'),
        ("manifest.join", {"anchors": ["x"]}, "join.anchors[0] 'x' is not a peer id"),
        ("manifest.data.sources.0", {"kind": "folder", "path": "/home/you/letters"}, "is a place on one machine"),
        ("manifest.data.sources.0", {"kind": "folder", "path": "~/letters"}, "is a place on one machine"),
        ("manifest.data.sources.0", {"kind": "folder", "path": "a/../../x"}, "leaves the data folder"),
        ("manifest.data.sources.0", {"kind": "huggingface", "path": "./x", "language": "en"}, "not a Hub data set"),
        ("manifest.data.stock", {}, "data.stock is not filled in"),
        ("manifest.tokenizer.digest", None, "tokenizer.digest is not filled in"),
        ("manifest.model.initial_digest", "ab", "model.initial_digest: 'ab' has the wrong form; write a SHA-256"),
        ("manifest.data.stock.en.tokens", 2**70, "manifest.data.stock.en.tokens"),
        ("manifest.surprise", 1, "manifest.surprise is an unknown key"),
        ("signature", "zz", "a signature has 128 hex digits"),
        ("extra", 1, "extra is an unknown key"),
    ],
)  # fmt: skip
def test_a_malformed_manifest_names_path_and_remedy(
    signed: SignedManifest, path: str, value: object, words: str
) -> None:
    assert words in refused(changed(signed, path, value))


def test_a_manifest_of_the_future_says_upgrade(signed: SignedManifest) -> None:
    assert "needs bloomswarm '99.0.0' or newer" in refused(
        changed(signed, "manifest.version", "99.0.0"), IncompatibleError
    )
    assert f"speaks protocol 99, this is {PROTOCOL}; upgrade" in refused(
        changed(signed, "manifest.protocol", 99), IncompatibleError
    )
    assert signed.manifest.version == __version__


def test_a_manifest_of_the_past_says_what_to_install(signed: SignedManifest) -> None:
    """Protocol 1 knew contents by SHA-256: its peers and this one's could agree on no digest."""
    assert f"speaks protocol 1, this is {PROTOCOL}; install the version the run was made with" in refused(
        changed(signed, "manifest.protocol", 1), IncompatibleError
    )


def test_bombs_are_bounded(signed: SignedManifest) -> None:
    assert "bytes" in refused(b" " * (MAX_MANIFEST_BYTES + 1))
    assert "not JSON" in refused(b"[" * 500_000)
    assert "manifest.json" in refused(b'{"manifest":{"model":{"layers":' + b"9" * 500_000 + b"}}}")
    assert "not JSON" in refused(b"\xff\xfe")
    assert "not JSON" in refused(b"")


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_nothing_but_a_swarm_error_comes_of_any_bytes(data: bytes) -> None:
    refused(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_nothing_but_a_swarm_error_comes_of_a_damaged_manifest(signed: SignedManifest, data: st.DataObject) -> None:
    outer = json.loads(signed.to_json())
    place, key = outer, "manifest"
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
    value = data.draw(JSON)
    if json.dumps(place[key]) == json.dumps(value):
        return
    place[key] = value
    try:
        again = SignedManifest.from_json(json.dumps(outer).encode())
    except SwarmError:
        return
    assert again == signed  # 1 for 1.0 is the same manifest


def test_only_the_owner_signs_and_only_what_is_complete(manifest: Manifest, owner: Identity) -> None:
    with pytest.raises(ConfigError, match="use the owner's key"):
        SignedManifest.sign(manifest, Identity.generate())
    empty = manifest.model_copy(update={"tokenizer": manifest.tokenizer.model_copy(update={"digest": None})})
    with pytest.raises(ConfigError, match=r"tokenizer\.digest is not filled in; make the run with `bloomswarm create`"):
        SignedManifest.sign(empty, owner)


def test_a_difference_is_told_field_by_field(manifest: Manifest, values: dict[str, Any]) -> None:
    values["optimizer"] = {"learning_rate": 0.0006}
    values["data"]["sources"] += [{"kind": "folder", "path": "corpus"}]
    stock = {
        language: LanguageStock.model_validate(held.model_dump()) for language, held in manifest.data.stock.items()
    }
    other = resolve(
        parse_config(values, "x"), owner=manifest.owner, created=manifest.created,
        tokenizer_digest="00" * 32, initial_digest="ef" * 32, stock={"en": stock["en"]},
    )  # fmt: skip
    assert diff(manifest, manifest) == []
    lines = diff(manifest, other)
    assert "optimizer.learning_rate: 0.001 here, 0.0006 there" in lines
    assert "data.sources[1].path: absent here, 'corpus' there" in lines
    assert "data.stock.sw.tokens: 300 here, absent there" in lines
    assert any(line.startswith("tokenizer.digest: ") for line in lines)
    message = str(incompatible(manifest, other))
    assert message.startswith(f"manifest {manifest.digest[:8]} is not the run's {other.digest[:8]}: ")
    assert message.endswith("more; use the run's link")
    assert len(message) < 500


def test_local_paths_become_relative_to_one_root(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "corpus" / "train").mkdir(parents=True)
    (tmp_path / "more.txt").write_text("x")

    def moved(*sources: dict[str, str]) -> tuple[list[str | None], Path]:
        values["data"]["sources"] = list(sources)
        config, root = portable(parse_config(values, "x"), tmp_path)
        return [source.path for source in config.data.sources], root

    folder = {"kind": "folder", "path": "corpus"}
    text = {"kind": "text", "path": str(tmp_path / "more.txt"), "language": "en"}
    assert moved(folder) == (["."], tmp_path / "corpus")
    assert moved(text) == (["more.txt"], tmp_path)
    assert moved(folder, text, {"kind": "starter"}) == (["corpus", "more.txt", None], tmp_path)
    assert moved({"kind": "folder", "path": "corpus/../corpus/train"}) == (["."], tmp_path / "corpus" / "train")
    with pytest.raises(DataError, match=r"there is no .*nowhere \(data\.sources\[0\]\.path\); check the path"):
        moved({"kind": "folder", "path": "nowhere"})
