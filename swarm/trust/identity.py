"""One Ed25519 key per peer: its libp2p identity, the signer of its records, and what an invitation names.

On disk: an unencrypted PKCS#8 PEM (`openssl pkey -in identity.pem -text` reads it), mode 0600, like an SSH key.
`cryptography` is imported when a key is first used: parsing a manifest or a link needs only peer ids.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import IdentityError
from swarm.trust.peer_id import friendly_name, is_peer_id, peer_id_of, public_key_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["SIGNATURE_BYTES", "Identity", "friendly_name", "is_peer_id", "verify"]

SIGNATURE_BYTES = 64
MAX_FILE_BYTES = 16_384
MIN_PASSPHRASE = 8
PRIVATE_PREFIX = bytes.fromhex("08011240")  # protobuf PrivateKey: type Ed25519, then 64 bytes: seed and public key


class Identity:
    """A private key, and the file it came from where there is one. `repr` shows the peer id, never the key."""

    def __init__(self, key: Ed25519PrivateKey, path: Path | None = None) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        self.path = path
        self.public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)  # (32,) bytes
        self.peer_id = peer_id_of(self.public_key)

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"

    @property
    def name(self) -> str:
        return friendly_name(self.peer_id)

    @classmethod
    def generate(cls) -> Identity:
        """A fresh key that is nowhere on disk."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def create(cls, path: Path | str) -> Identity:
        """A fresh key, written to `path`. IdentityError where a key is there already: it is never overwritten."""
        return cls.generate().save(path)

    @classmethod
    def load(cls, path: Path | str) -> Identity:
        """The key in `path`. IdentityError: missing, unreadable, readable by others, not an Ed25519 key, encrypted."""
        path = Path(path)
        return cls(_parse(_read_private(path), str(path), passphrase=None), path)

    @classmethod
    def load_or_create(cls, path: Path | str) -> Identity:
        """`load`, or `create` where there is no file. Two processes that start at once get the same key."""
        path = Path(path)
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                return cls.generate()._write(path)
        return cls.load(path)

    def save(self, path: Path | str) -> Identity:
        """Write the key to `path` (0600, whole or not at all) and return the identity that lives there."""
        try:
            return self._write(Path(path))
        except FileExistsError:
            remedy = "keep it, or move it away first: a run's owner cannot be replaced"
            raise IdentityError(f"{path}: a key is there already; {remedy}") from None

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature, 64 bytes. The caller puts a purpose and a length in front of what varies."""
        return self._key.sign(data)

    def libp2p_protobuf(self) -> bytes:
        """The private key as hivemind's daemon takes it (`p2pd -id`): protobuf, raw seed and public key. Secret."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        seed = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return PRIVATE_PREFIX + seed + self.public_key

    def export_encrypted(self, passphrase: str) -> bytes:
        """The key as a PEM encrypted with `passphrase` (PBES2, AES-256), to move it to another machine."""
        from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

        if len(passphrase) < MIN_PASSPHRASE:
            raise IdentityError(f"the passphrase has {len(passphrase)} characters; use at least {MIN_PASSPHRASE}")
        encryption = BestAvailableEncryption(passphrase.encode("utf-8", "surrogateescape"))
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def export_to(self, path: Path, passphrase: str) -> None:
        """Write `export_encrypted` to a new file, mode 0600. IdentityError where a file is there or none can be."""
        pem = self.export_encrypted(passphrase)
        try:
            _write_new(path, pem)
        except FileExistsError:
            raise IdentityError(f"{path} exists and is not overwritten; choose another --to") from None
        except OSError as error:
            raise IdentityError(f"{path}: cannot be written: {error.strerror}; choose another --to") from None

    @classmethod
    def import_from(cls, path: Path, passphrase: str) -> Identity:
        """The key that `export_to` wrote; not on disk here until `save`."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise IdentityError(f"{path}: cannot be read: {error.strerror}; name the exported file") from None
        if len(data) > MAX_FILE_BYTES:
            raise IdentityError(f"{path}: larger than {MAX_FILE_BYTES} bytes, so not a key; name the exported file")
        return cls.import_encrypted(data, passphrase, str(path))

    @classmethod
    def import_encrypted(cls, pem: bytes, passphrase: str, source: str = "the exported key") -> Identity:
        """The inverse of `export_encrypted`; not on disk until `save`."""
        return cls(_parse(pem, source, passphrase))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this key for one process: two peers with one id would each undo what the other says.

        IdentityError where another process of this machine holds it, be it from another copy of the file. The kernel
        frees it when the process ends, however it ends.
        """
        assert self.path is not None, "only an identity on disk can be locked"
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, self._locked(self.path, os.O_RDWR))  # a forked child must not keep it
            common = Path(tempfile.gettempdir()) / f"bloomswarm-{os.getuid()}-{self.peer_id}.lock"
            stack.callback(os.close, self._locked(common, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW))
            stack.callback(common.unlink, missing_ok=True)
            yield

    def _locked(self, path: Path, flags: int) -> int:
        try:
            file = os.open(path, flags, 0o600)
        except OSError as error:
            raise IdentityError(f"{path}: cannot be opened for its lock: {error.strerror}; see its mode") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            remedy = "stop that one, or give this peer a folder of its own with --dir"
            raise IdentityError(f"{self.path}: {self.name} already runs in another process here; {remedy}") from None
        return file

    def _write(self, path: Path) -> Identity:
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IdentityError(f"{path.parent}: no folder can be made: {error.strerror}; choose another") from None
        try:
            _write_new(path, pem)
        except FileExistsError:
            raise
        except OSError as error:
            raise IdentityError(f"{path}: the key cannot be written: {error.strerror}; choose another folder") from None
        return Identity(self._key, path)


def verify(peer_id: str, data: bytes, signature: bytes) -> bool:
    """Whether `signature` over `data` is by the key inside `peer_id`. False for every kind of garbage; never raises."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public_key = public_key_of(peer_id)
    if public_key is None or not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _write_new(path: Path, data: bytes) -> None:
    """Create `path` with `data`, mode 0600, or raise FileExistsError: a reader never sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp: mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)  # unlike rename, it refuses an existing target
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) or path.exists():
                raise
            os.rename(name, path)  # a file system without hard links (FAT, some network mounts)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise IdentityError(f"{path}: no key is there; `create` and `join` make one, or name the right --dir") from None
    except OSError as error:
        raise IdentityError(f"{path}: the key cannot be read: {error.strerror}; check the path and its mode") from None
    if mode & 0o077:
        raise IdentityError(f"{path}: mode {mode:04o} lets others use this key; run: chmod 600 {path}")
    if len(data) > MAX_FILE_BYTES:
        raise IdentityError(f"{path}: larger than {MAX_FILE_BYTES} bytes, so not a key; name the right file")
    return data


def _parse(pem: bytes, source: str, passphrase: str | None) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None if passphrase is None else passphrase.encode("utf-8", "surrogateescape"))
    except TypeError:  # cryptography's answer to a passphrase that is missing, or given and not needed
        if passphrase is None:
            raise IdentityError(f"{source}: the key is encrypted; use `bloomswarm identity import`") from None
        raise IdentityError(f"{source}: the key is not encrypted; export it with a passphrase first") from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "not a PEM private key" if passphrase is None else "wrong passphrase, or not an exported key"
        raise IdentityError(f"{source}: {hint}; restore it from a backup or use the right file") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{source}: holds a {type(key).__name__}, not an Ed25519 key; use one made by bloomswarm")
    return key
