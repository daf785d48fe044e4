"""Home links on one machine: a network namespace for each peer, and a thread that carries packets late and slowly.

Each process makes a namespace and a TUN device in it and hands the device over; `HomeLinks` reads what it sends, and
writes it to the other side after the sender's uplink, the way, and the receiver's downlink. A queue is bounded in time,
as a router's is, and drops what does not fit. The namespaces end with their processes: there is nothing to clean up.
Needs root, /dev/net/tun and iproute2 (kernels without netem are common).
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import shutil
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path

DEVICE = Path("/dev/net/tun")
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
QUEUE_SECONDS = 0.1
PACKET_BYTES = 65_535
TURNS = 64  # packets of one peer before the others have their turn


def why_not() -> str | None:
    """Why there can be no such links on this machine; None where there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "it needs root"
    if not DEVICE.exists():
        return f"there is no {DEVICE}"
    return None if shutil.which("ip") else "there is no `ip` (iproute2)"


def address_of(index: int) -> str:
    """IPv4 address of a peer on these links."""
    return f"10.77.{index // 250}.{index % 250 + 1}"


def move_in(pipe: Connection, index: int, parent: int) -> None:
    """Give this process a namespace whose only way out is a device that `HomeLinks.connect` takes from the pipe.

    Call first, before there are threads: they stay where they were made.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare of the network namespace")
    device = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"home0", IFF_TUN | IFF_NO_PI))
    for line in (
        "link set lo up",
        f"addr add {address_of(index)}/16 dev home0",
        "link set home0 up txqueuelen 1000",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    send_handle(pipe, device, parent)
    os.close(device)


@dataclass
class _End:
    """One peer's line: when each direction is free again."""

    device: int
    up_free: float = 0.0
    down_free: float = 0.0


@dataclass
class HomeLinks:
    """Lines of `mbit` Mbit/s up and down, a round trip of `rtt` seconds between any two. Use as a context manager."""

    mbit: float
    rtt: float
    carried_bytes: int = 0
    dropped: int = 0
    _ends: dict[bytes, _End] = field(default_factory=dict)  # by IPv4 address
    _way: list[tuple[float, int, int, bytes]] = field(default_factory=list)  # due, number, device, packet

    def __enter__(self) -> HomeLinks:
        self._poll, self._stop = select.epoll(), threading.Event()
        self._by_device: dict[int, _End] = {}
        self._thread = threading.Thread(target=self._carry, name="links", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._poll.close()
        for device in self._by_device:
            os.close(device)

    def connect(self, pipe: Connection, index: int) -> None:
        """Take the device of a process that moves in."""
        device = recv_handle(pipe)
        end = _End(device)
        self._by_device[device] = end
        self._ends[bytes(map(int, address_of(index).split(".")))] = end
        self._poll.register(device, select.EPOLLIN)

    def _carry(self) -> None:
        while not self._stop.is_set():
            wait = max(0.0, min(0.2, self._way[0][0] - time.monotonic())) if self._way else 0.2
            for device, event in self._poll.poll(wait):
                if event & ~select.EPOLLIN:
                    self._poll.unregister(device)  # its process is gone
                else:
                    self._take(device)
            self._deliver()

    def _take(self, device: int) -> None:
        for _ in range(TURNS):
            try:
                packet = os.read(device, PACKET_BYTES)
            except OSError:  # nothing more just now, or the process is gone
                return
            self._send(self._by_device[device], packet)

    def _send(self, sender: _End, packet: bytes) -> None:
        receiver = self._ends.get(packet[16:20])
        if receiver is None or packet[0] >> 4 != 4:
            return
        now, seconds = time.monotonic(), len(packet) * 8e-6 / self.mbit
        leaves = max(now, sender.up_free) + seconds
        arrives = leaves + self.rtt / 2
        through = max(arrives, receiver.down_free + seconds)
        if leaves - now > QUEUE_SECONDS + seconds or through - arrives > QUEUE_SECONDS:
            self.dropped += 1
            return
        sender.up_free, receiver.down_free = leaves, through
        self.carried_bytes += len(packet)
        heapq.heappush(self._way, (through, self.carried_bytes, receiver.device, packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._way and self._way[0][0] <= now:
            _, _, device, packet = heapq.heappop(self._way)
            try:
                os.write(device, packet)
            except OSError:
                self.dropped += 1
