"""Whom the owner of a run has invited and revoked: two files in the run's folder, which its seeds read.

    invitations    a line for each peer: its id and the invitation, in hex
    revocations    the signed list, in hex

A peer's own folder has the same files: of itself, and the newest list that it has heard of.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.run_folder import RunFolder, write_atomically
from swarm.errors import ConfigError, IdentityError
from swarm.run.manifest import SignedManifest
from swarm.trust.identity import Identity
from swarm.trust.invitation import (
    MAX_REVOCATIONS_BYTES,
    MAX_REVOKED,
    Invitation,
    Revocations,
    invite,
    read_invitation,
    read_revocations,
    revoke,
)
from swarm.trust.peer_id import public_key_of

INVITATIONS, REVOCATIONS, OWNER = "invitations", "revocations", "owner.pem"
MAX_GUESTS = 4096
DAY = 86_400
LONGEST_DAYS = 3650  # of an invitation
FORGET_SECONDS = DAY  # after the end of a revoked invitation: no clock is that far off


class GuestBook:
    """Of the run of this manifest, in `folder`. ConfigError where a file is not what the owner has signed."""

    def __init__(self, folder: Path, signed: SignedManifest) -> None:
        self.folder, self.digest, self.owner = folder, signed.digest, signed.manifest.owner

    def invitations(self) -> dict[str, Invitation]:
        found: dict[str, Invitation] = {}
        for number, line in enumerate(self._read(INVITATIONS, 256 * MAX_GUESTS).splitlines(), start=1):
            peer, _, text = line.partition(" ")
            read = read_invitation(_hex(text), self.digest, self.owner, peer)
            if read is None:
                where = f"{self.folder / INVITATIONS}, line {number}"
                raise ConfigError(f"{where}: not an invitation of this run's owner; remove the line, invite again")
            found[peer] = read
        return found

    def revocations(self) -> Revocations:
        text = self._read(REVOCATIONS, 2 * MAX_REVOCATIONS_BYTES + 2)
        if not text:
            return Revocations()
        read = read_revocations(_hex(text), self.digest, self.owner)
        if read is None:
            raise ConfigError(f"{self.folder / REVOCATIONS} is not a list of this run's owner; restore it from a copy")
        return read

    def write_invitations(self, invitations: dict[str, Invitation]) -> None:
        lines = [f"{peer} {held.to_bytes().hex()}\n" for peer, held in sorted(invitations.items())]
        write_atomically(self.folder / INVITATIONS, "".join(lines).encode())

    def write_revocations(self, data: bytes) -> None:
        write_atomically(self.folder / REVOCATIONS, data.hex().encode() + b"\n")

    def changed(self) -> tuple[int, ...]:
        """Something else whenever a file was written."""
        paths = [self.folder / name for name in (INVITATIONS, REVOCATIONS)]
        return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in paths)

    def _read(self, name: str, limit: int) -> str:
        path = self.folder / name
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ConfigError(f"{path}: larger than {limit} bytes, so not what was written; restore it from a copy")
        return data.decode("ascii", "replace").strip()


class Owner:
    """The owner at work in a run's folder, alone. ConfigError: an open run. IdentityError: not the owner's key."""

    def __init__(self, run: Path) -> None:
        self.run, self.signed = run, RunFolder(run).manifest()
        self.book = GuestBook(run, self.signed)
        manifest = self.signed.manifest
        if manifest.join.policy != "invited":
            raise ConfigError(
                f'{manifest.name} is open, anyone may join it; only a run made with join.policy = "invited" has guests'
            )
        self.key = Identity.load(run / OWNER)
        if self.key.peer_id != manifest.owner:
            raise IdentityError(f"{run / OWNER} is {self.key.name}, the run's owner is another; use the owner's key")

    def invite(self, peer_id: str, days: int) -> Invitation:
        """Until so many days from now, in place of an earlier invitation."""
        with _alone(self.run):
            held = self.book.invitations()
            if peer_id not in held and len(held) >= MAX_GUESTS:
                raise ConfigError(
                    f"{MAX_GUESTS} peers are invited, no more fit; remove lines of {INVITATIONS} that ended"
                )
            now = int(time.time())
            made = invite(self.key, self.signed.digest, peer_id, not_after=now + days * DAY, serial=self._serial(held))
            self.book.write_invitations({**held, peer_id: made})
            return made

    def revoke(self, peer_id: str) -> bool:
        """All invitations of this peer so far; False where this folder knows of none (it is revoked all the same)."""
        with _alone(self.run):
            held, before = self.book.invitations(), self.book.revocations()
            serial, key = self._serial(held), public_key_of(peer_id)
            assert key is not None, "the command line has checked it"
            self.book.write_revocations(self._list({**before.voided, key: serial}, held, serial).data)
            return peer_id in held

    def _list(self, voided: dict[bytes, int], held: dict[str, Invitation], serial: int) -> Revocations:
        """Whose invitation has ended by itself need not stay on it."""
        gone = time.time() - FORGET_SECONDS
        ended = {public_key_of(peer) for peer, each in held.items() if each.not_after < gone}
        voided = {key: upto for key, upto in voided.items() if key not in ended}
        if len(voided) > MAX_REVOKED:
            raise ConfigError(f"{MAX_REVOKED} peers are revoked, and no more fit until an invitation of theirs ends")
        return revoke(self.key, self.signed.digest, voided, serial)

    def _serial(self, held: dict[str, Invitation]) -> int:
        last = max([each.serial for each in held.values()], default=0)
        return max(int(time.time()), last + 1, self.book.revocations().serial + 1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two commands at once would each forget what the other wrote."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
