"""Keys, peer ids and signatures: what libp2p computes from the same key, and every way a key file can be wrong."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import IdentityError
from swarm.trust.identity import Identity, friendly_name, verify
from swarm.trust.peer_id import is_peer_id, peer_id_of, public_key_of

SOMEONE = Identity.generate()
ROOT = Path(__file__).resolve().parents[3]

# The Ed25519 example of the libp2p specification (peer-ids.md, test vectors): a private key protobuf.
SPEC_PRIVATE = bytes.fromhex(
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
    "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
)


def test_the_peer_id_is_libp2ps() -> None:
    key = Identity(Ed25519PrivateKey.from_private_bytes(SPEC_PRIVATE[4:36]))
    assert key.libp2p_protobuf() == SPEC_PRIVATE
    assert key.public_key == SPEC_PRIVATE[36:]
    assert key.peer_id.startswith("12D3KooW")
    assert len(key.peer_id) == 52
    assert public_key_of(key.peer_id) == key.public_key


def test_the_peer_id_is_what_base58_makes_of_the_multihash() -> None:
    base58 = pytest.importorskip("base58")
    assert base58.b58decode(SOMEONE.peer_id) == bytes.fromhex("002408011220") + SOMEONE.public_key


@given(st.binary(min_size=32, max_size=32))
def test_every_key_has_one_id_and_the_id_gives_it_back(key: bytes) -> None:
    assert public_key_of(peer_id_of(key)) == key


@given(
    st.text(max_size=80) | st.text(alphabet="123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", max_size=64)
)
def test_other_text_is_no_peer_id(text: str) -> None:
    assert not is_peer_id(text) or peer_id_of(public_key_of(text) or b"") == text
    assert not is_peer_id("1" + SOMEONE.peer_id)
    assert not is_peer_id(SOMEONE.peer_id + " ")


def test_an_rsa_peer_id_is_not_ours() -> None:
    assert not is_peer_id("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")


def test_a_signature_is_for_these_bytes_by_this_key() -> None:
    other, signature = Identity.generate(), SOMEONE.sign(b"bytes")
    assert verify(SOMEONE.peer_id, b"bytes", signature)
    assert not verify(SOMEONE.peer_id, b"bytes!", signature)
    assert not verify(other.peer_id, b"bytes", signature)
    assert not verify(SOMEONE.peer_id, b"bytes", bytes([signature[0] ^ 1]) + signature[1:])


@given(
    st.text(max_size=60) | st.just(SOMEONE.peer_id),
    st.binary(max_size=99),
    st.binary(max_size=70) | st.binary(min_size=64, max_size=64),
)
def test_verify_never_raises(peer_id: str, data: bytes, signature: bytes) -> None:
    assert not verify(peer_id, data, signature)


@pytest.mark.parametrize("garbage", [None, 7, "text", [], b""])
def test_verify_never_raises_for_other_types(garbage: object) -> None:
    assert not verify(garbage, b"data", b"0" * 64)  # type: ignore[arg-type]
    assert not verify(SOMEONE.peer_id, garbage, b"0" * 64) or garbage == b""  # type: ignore[arg-type]
    assert not verify(SOMEONE.peer_id, b"data", garbage)  # type: ignore[arg-type]


def test_a_friendly_name_stays_the_same_and_never_raises() -> None:
    assert friendly_name("12D3KooW") == friendly_name("12D3KooW") != friendly_name("12D3KooX")
    adjective, animal, number = SOMEONE.name.split("-")
    assert adjective.isalpha()
    assert animal.isalpha()
    assert len(number) == 2
    friendly_name("\ud800")


def test_create_writes_a_key_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "identity.pem"
    old = os.umask(0)
    try:
        made = Identity.create(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load(path).peer_id == made.peer_id
    assert list(path.parent.iterdir()) == [path], "temporary files were left"
    assert made.path == path
    assert "PRIVATE" not in repr(made)


def test_openssl_reads_the_key(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command on this machine")
    path = tmp_path / "identity.pem"
    made = Identity.create(path)
    command = ["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"]
    der = subprocess.run(command, capture_output=True, check=True).stdout
    assert der.endswith(made.public_key)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    first = Identity.create(path)
    with pytest.raises(IdentityError, match="a key is there already"):
        Identity.create(path)
    assert Identity.load_or_create(path).peer_id == first.peer_id
    assert list(tmp_path.iterdir()) == [path]


def test_peers_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    found: list[str] = []
    path = tmp_path / "identity.pem"
    threads = [threading.Thread(target=lambda: found.append(Identity.load_or_create(path).peer_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]


BROKEN = {
    "empty": (b"", "not a PEM private key"),
    "noise": (os.urandom(500), "not a PEM private key"),
    "truncated": (pem(Ed25519PrivateKey.generate())[:60], "not a PEM private key"),
    "huge": (b"-" * 100_000, "larger than"),
    "rsa": (pem(generate_private_key(65537, 2048)), "not an Ed25519 key"),
    "encrypted": (SOMEONE.export_encrypted("a good passphrase"), "identity import"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_key_file_is_one_clear_line(name: str, tmp_path: Path) -> None:
    data, words = BROKEN[name]
    path = tmp_path / "identity.pem"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=words) as error:
        Identity.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_shared_and_impossible_files(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="no key is there"):
        Identity.load(tmp_path / "nothing.pem")
    with pytest.raises(IdentityError, match="cannot be read"):
        Identity.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="no folder can be made"):
        Identity.create(tmp_path / "file" / "identity.pem")
    path = tmp_path / "identity.pem"
    Identity.create(path)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match=f"chmod 600 {path}"):
        Identity.load(path)


def test_a_key_moves_to_another_machine_by_passphrase(tmp_path: Path) -> None:
    exported = SOMEONE.export_encrypted("correct horse battery")
    assert b"ENCRYPTED" in exported
    moved = Identity.import_encrypted(exported, "correct horse battery").save(tmp_path / "identity.pem")
    assert moved.peer_id == SOMEONE.peer_id == Identity.load(tmp_path / "identity.pem").peer_id
    with pytest.raises(IdentityError, match="wrong passphrase"):
        Identity.import_encrypted(exported, "wrong horse battery")
    with pytest.raises(IdentityError, match="at least 8"):
        SOMEONE.export_encrypted("short")
    with pytest.raises(IdentityError, match="not encrypted"):
        Identity.import_encrypted((tmp_path / "identity.pem").read_bytes(), "correct horse battery")


def test_one_identity_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    identity = Identity.create(path)
    code = (
        "import sys\nfrom swarm.trust.identity import Identity\nfrom swarm.errors import IdentityError\n"
        "try:\n    with Identity.load(sys.argv[1]).lock():\n        print('held')\n"
        "except IdentityError as error:\n    print(error)\n"
    )

    def attempt() -> str:
        command = [sys.executable, "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()

    with identity.lock():
        refused = attempt()
        assert "already runs in another process" in refused
        assert identity.name in refused
        assert "--dir" in refused
    assert attempt() == "held"
    with identity.lock():
        pass
