"""A small internet on this machine: network namespaces, one of them behind a router that masquerades, as at home.

    internet 45.0.0.1 ---- router 45.0.0.2 | 192.168.1.1 ---- home 192.168.1.2

Each namespace belongs to a process that sleeps in it and ends with this one: nothing has a name, nothing stays behind.
Needs root, iproute2, nftables and nsenter.

    python -m tests.peers.namespaces PID COMMAND ...       bloomswarm's command line, in the namespace of that process
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarm.tied import tied
from tests.peers.swarm_demo import wait_until

CLONE_NEWNET = 0x40000000
TOOLS = ("ip", "nft", "nsenter", "unshare")
INTERNET, OUTSIDE, INSIDE, HOME = "45.0.0.1", "45.0.0.2", "192.168.1.1", "192.168.1.2"


def why_not() -> str | None:
    """Why there can be no such network on this machine; None where there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "it needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Places:
    """Process ids, each in a namespace of its own."""

    internet: int
    router: int
    home: int


@contextmanager
def home_behind_a_router() -> Iterator[Places]:
    sleeper = tied([str(shutil.which("unshare")), "-n", "sleep", "3600"], signal.SIGKILL)
    sleeping = [subprocess.Popen(sleeper) for _ in range(3)]
    try:
        places = Places(*(process.pid for process in sleeping))
        own = os.readlink("/proc/self/ns/net")
        for process in sleeping:
            wait_until(lambda pid=process.pid: os.readlink(f"/proc/{pid}/ns/net") != own, 10, "a namespace")
        _connect(places)
        yield places
    finally:
        for process in sleeping:
            process.kill()
            process.wait(5)


def inside(place: int, line: str) -> None:
    """Run a command in a namespace."""
    subprocess.run(["nsenter", f"--net=/proc/{place}/ns/net", *line.split()], check=True)


def _connect(places: Places) -> None:
    for one, other, name in ((places.internet, places.router, "street"), (places.home, places.router, "house")):
        subprocess.run(
            f"ip link add {name} netns {one} type veth peer name {name} netns {other}".split(),
            check=True,
        )
    for place, name, address in (
        (places.internet, "street", INTERNET),
        (places.router, "street", OUTSIDE),
        (places.router, "house", INSIDE),
        (places.home, "house", HOME),
    ):
        inside(place, f"ip address add {address}/24 dev {name}")
        inside(place, f"ip link set {name} up")
        inside(place, "ip link set lo up")
    inside(places.home, f"ip route add default via {INSIDE}")
    enter(places.router, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    for rule in (
        "add table ip nat",
        "add chain ip nat leaving { type nat hook postrouting priority 100 ; }",
        "add rule ip nat leaving oifname street masquerade",
    ):
        subprocess.run(["nsenter", f"--net=/proc/{places.router}/ns/net", "nft", rule], check=True)


def enter(place: int, work: object = None) -> None:
    """Move this thread into a namespace; with `work`, do that there and come back."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _set(f"/proc/{place}/ns/net")
        if callable(work):
            work()
            _set(f"/proc/self/fd/{home}")
    finally:
        os.close(home)


def _set(path: str) -> None:
    namespace = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {path}")
    finally:
        os.close(namespace)


if __name__ == "__main__":
    enter(int(sys.argv[1]))
    from peers.cli import main

    main(sys.argv[2:])
