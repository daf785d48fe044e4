"""The join link: one token to paste, `bloomswarm:<manifest digest>?peer=<multiaddr>&peer=<multiaddr>`.

It carries only what a newcomer cannot get from the swarm: which run (the manifest must hash to the digest) and whom
to ask first. `at=<round>:<root>` may pin a checkpoint; `invitation=` is for the one peer that it names. Text from chats
and mails: bounded, and mended only where no doubt is possible (blanks, quotes or angle brackets round it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from swarm.address import AddressError, check_dialable
from swarm.errors import LinkError

SCHEME = "bloomswarm:"
MAX_LINK = 8192
MAX_PEERS = 16
MAX_ROUND = 2**53
HEX = re.compile(r"[0-9a-f]{64}\Z")
INVITATION = re.compile(r"[0-9a-f]{160}\Z")
ASK = "ask for the link again (`bloomswarm seed` prints it)"


@dataclass(frozen=True)
class Link:
    """digest: 64 hex digits. peers: 1 to 16 multiaddresses that end in /p2p/. at: (round, root in hex) or None.

    invitation: of the one peer that this link is for, 160 hex digits, or None.
    """

    digest: str
    peers: tuple[str, ...]
    at: tuple[int, str] | None = None
    invitation: str | None = None

    def __post_init__(self) -> None:
        if not HEX.match(self.digest):
            raise LinkError(f"the link names the run {_short(self.digest)}, which is not 64 hex digits; {ASK}")
        if not 1 <= len(self.peers) <= MAX_PEERS:
            raise LinkError(f"the link names {len(self.peers)} peers; 1 to {MAX_PEERS} are needed; {ASK}")
        for peer in self.peers:
            try:
                check_dialable(peer)
            except AddressError as error:
                raise LinkError(f"the link's peer {_short(peer)} {error}; {ASK}") from None
        if self.at is not None and not (0 <= self.at[0] <= MAX_ROUND and HEX.match(self.at[1])):
            raise LinkError(f"the link pins the round {_short(str(self.at))}, not <round>:<64 hex digits>; {ASK}")
        if self.invitation is not None and not INVITATION.match(self.invitation):
            raise LinkError(f"the link's invitation {_short(self.invitation)} is not 160 hex digits; {ASK}")

    def __str__(self) -> str:
        parts = [f"peer={quote(peer, safe='/:')}" for peer in self.peers]
        if self.at is not None:
            parts.append(f"at={self.at[0]}:{self.at[1]}")
        if self.invitation is not None:
            parts.append(f"invitation={self.invitation}")
        return f"{SCHEME}{self.digest}?{'&'.join(parts)}"


def parse(text: str) -> Link:
    """Read a link. Raises LinkError, one line, for anything that is not one."""
    if len(text) > MAX_LINK:
        raise LinkError(f"the link has {len(text)} characters; {MAX_LINK} is the most; {ASK}")
    text = text.strip().strip("<>'\"“”‘’`").strip()
    if not text.startswith(SCHEME):
        raise LinkError(f"{_short(text)} is not a join link: it does not begin with {SCHEME!r}; {ASK}")
    digest, mark, query = text[len(SCHEME) :].partition("?")
    if not mark:
        raise LinkError(f"the link ends after the run's digest and names no peer; put it in quotes, or {ASK}")
    peers: list[str] = []
    at: tuple[int, str] | None = None
    invitation: str | None = None
    for key, value in _pairs(query):
        if key == "peer":
            if value not in peers:
                peers.append(value)
        elif key == "at" and at is None:
            at = _pin(value)
        elif key == "invitation" and invitation is None:
            invitation = value
        else:
            raise LinkError(f"the link holds {_short(key)}, unknown or twice; upgrade bloomswarm, or {ASK}")
    return Link(digest=digest, peers=tuple(peers), at=at, invitation=invitation)


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        key, mark, value = part.partition("=")
        if not mark:
            raise LinkError(f"the link holds {_short(part)} where name=value belongs; {ASK}")
        yield key, unquote(value, errors="replace")


def _pin(value: str) -> tuple[int, str]:
    number, _, root = value.partition(":")
    if not re.fullmatch(r"[0-9]{1,16}", number):
        raise LinkError(f"the link pins the round {_short(value)}, not <round>:<64 hex digits>; {ASK}")
    return int(number), root


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
