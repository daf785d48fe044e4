"""Multiaddresses (`/ip4/203.0.113.7/tcp/4001/p2p/12D3KooW...`): the strict subset that peers of a run use.

They arrive in links and records from strangers and are handed to a Go daemon, so what is not understood is refused.
Grammar: https://github.com/multiformats/multiaddr
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

from swarm.trust.peer_id import is_peer_id

MAX_ADDRESS = 300
HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z"
)
OTHER_PEER = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}\Z")  # a relay may still have an RSA key


class AddressError(ValueError):
    """Why a text is not an address that a peer can use; the caller says where it stood and what to do."""


def check_dialable(text: str) -> str:
    """An address of a peer: where it is and, at the end, which peer must answer there. Raises AddressError."""
    protocols = _protocols(text)
    if not is_peer_id(text.rsplit("/", 1)[-1]) or protocols[-1] != "p2p":
        raise AddressError("does not end in /p2p/<peer id>")
    if protocols[0] not in HOSTS:
        raise AddressError("does not begin with /ip4, /ip6 or /dns")
    if "tcp" not in protocols and "udp" not in protocols:
        raise AddressError("names no /tcp or /udp port")
    if re.search(r"/(tcp|udp)/0+(/|\Z)", text):
        raise AddressError("names port 0, which nobody can dial")
    return text


def host_of(address: str) -> str | None:
    """The IP address in a connection's multiaddress; None where it leads through a relay."""
    parts = address.split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6") or "p2p-circuit" in parts:
        return None
    return parts[2]


def port_of(address: str) -> int | None:
    """The TCP port in a multiaddress."""
    _, found, rest = address.partition("/tcp/")
    port = rest.split("/")[0]
    return int(port) if found and port.isdigit() else None


def is_dialable(text: str) -> bool:
    try:
        check_dialable(text)
    except AddressError:
        return False
    return True


def doors_of(peer_id: str, addresses: Iterable[str]) -> list[str]:
    """Those of what a peer says of where it is that can be so."""
    return [text for text in addresses if text.endswith(f"/p2p/{peer_id}") and is_dialable(text)]


def check_listen(text: str) -> str:
    """An address to listen on or to announce: no peer id; port 0 means any free port. Raises AddressError."""
    protocols = _protocols(text)
    if protocols[0] not in HOSTS:
        raise AddressError("does not begin with /ip4, /ip6 or /dns")
    if "tcp" not in protocols and "udp" not in protocols:
        raise AddressError("names no /tcp or /udp port")
    if "p2p" in protocols:
        raise AddressError("names a peer id; leave out /p2p/... (it is this peer's own)")
    return text


def _protocols(text: str) -> list[str]:
    """The protocol names in order, each value checked."""
    if len(text) > MAX_ADDRESS:
        raise AddressError(f"has {len(text)} characters; {MAX_ADDRESS} is the most")
    if not text.startswith("/"):
        raise AddressError("does not begin with /")
    parts, names = iter(text[1:].split("/")), []
    for name in parts:
        names.append(name)
        if name in FLAGS:
            continue
        if name not in VALUES:
            raise AddressError(f"has the unknown part {name[:20]!r}")
        value = next(parts, "")
        if not VALUES[name](value):
            raise AddressError(f"has {value[:60]!r} after /{name}")
    return names


def _is_ip(version: int) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            return "%" not in value and ipaddress.ip_address(value).version == version
        except ValueError:
            return False

    return check


def _is_port(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", value)) and int(value) <= 65_535


def _is_host_name(value: str) -> bool:
    return bool(HOST_NAME.match(value))


def _is_any_peer(value: str) -> bool:
    return is_peer_id(value) or bool(OTHER_PEER.match(value))


HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")
FLAGS = ("quic", "quic-v1", "ws", "wss", "tls", "p2p-circuit")
VALUES: dict[str, Callable[[str], bool]] = {
    "ip4": _is_ip(4),
    "ip6": _is_ip(6),
    "dns": _is_host_name,
    "dns4": _is_host_name,
    "dns6": _is_host_name,
    "tcp": _is_port,
    "udp": _is_port,
    "p2p": _is_any_peer,
}
