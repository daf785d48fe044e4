"""hivemind's Go daemon `p2pd` as our child: started, watched and ended here, in a process group of its own.

Started by us and not by `hivemind.P2P.create`, for four reasons: it must end with a parent that was killed
(PR_SET_PDEATHSIG), it must not get the terminal's Ctrl+C before we have said goodbye, the private key goes in
through a pipe and touches no disk, and what it prints at its end tells a taken port from an unusable address.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.resources
import os
import re
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarm.address import AddressError, check_listen
from swarm.errors import ConfigError, NetworkError, ResourceError
from swarm.network.socket_folder import SocketFolder
from swarm.tied import tied

START_SECONDS = 20.0
STOP_SECONDS = 1.0
KEPT_LINES = 8
READY = "Peer ID:"
_SETTINGS = {"GOMAXPROCS": "1"}  # a core moves 700 MB/s; more of Go's threads only wake and look for work
GREETING = ("Control socket:", "Peer Addrs:", "/")  # and then its addresses, one a line


class Daemon:
    """A running p2pd. control: the path of its control socket. ended: resolves with the reason when it is gone."""

    def __init__(self, process: subprocess.Popen[bytes], folder: SocketFolder, control: str) -> None:
        self._process = process
        self._folder = folder
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._ready = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self.control = control
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def folder(self) -> Path:
        """A private folder (0700) for sockets; removed when the daemon is stopped."""
        return self._folder.path

    @classmethod
    async def start(
        cls, secret_key: bytes, *, listen: Sequence[str], announce: Sequence[str] = (), client: bool = False
    ) -> Daemon:
        """Start p2pd with a libp2p private key and wait until it serves. Call from a thread that lives as long.

        ConfigError: a malformed address. ResourceError: a port that is taken. NetworkError: anything else.
        """
        _check_addresses(listen, "listen")
        _check_addresses(announce, "announce")
        _require_free(listen)
        folder = SocketFolder()
        control = str(folder.path / "daemon.sock")
        key_in, key_out = os.pipe()
        try:
            os.write(key_out, secret_key)
            os.close(key_out)
            arguments = _arguments(key_in, control, listen, announce, client)
            process = subprocess.Popen(
                arguments,
                pass_fds=[key_in],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_SETTINGS | os.environ | {"GOLOG_LOG_LEVEL": "error", "GOLOG_LOG_FMT": "nocolor"},
            )
        except OSError as error:
            folder.remove()
            raise NetworkError(f"hivemind's daemon cannot be started: {error}; reinstall bloomswarm") from None
        finally:
            os.close(key_in)
        daemon = cls(process, folder, control)
        await daemon._wait_until_ready(listen)
        return daemon

    async def _wait_until_ready(self, listen: Sequence[str]) -> None:
        self._watcher = asyncio.create_task(self._watch())
        ready = asyncio.create_task(self._ready.wait())
        try:
            either: set[asyncio.Future[Any]] = {ready, self.ended}
            await asyncio.wait(either, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._ready.is_set() and not self.ended.done():
            return
        await self.stop()
        said = " / ".join(self._lines) or f"it printed nothing for {START_SECONDS:.0f} s"
        raise _start_failure(said, listen)

    async def _watch(self) -> None:
        """Read what the daemon prints; the end of its output is its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout)
        rest = b""
        try:
            while data := await reader.read(65_536):
                *lines, rest = (rest + data)[-65_536:].split(b"\n")
                for line in lines:
                    self._hear(line.decode("utf-8", "replace").strip())
        finally:
            transport.close()
        code = await loop.run_in_executor(None, self._process.wait)
        if not self.ended.done():
            self.ended.set_result(_ending(code, self._lines))

    def _hear(self, line: str) -> None:
        if line.startswith(READY):
            self._ready.set()
        elif line and not line.startswith(GREETING):
            self._lines.append(line[:300])

    async def stop(self) -> None:
        """End the daemon and free its ports and sockets, within about a second. Safe to call twice."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        done, _ = await asyncio.wait({self.ended}, timeout=STOP_SECONDS)
        if not done:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await asyncio.wait({self.ended}, timeout=STOP_SECONDS)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._process.wait()
        self._folder.remove()


def is_loopback(address: str) -> bool:
    """Whether a multiaddress can be reached from this machine only."""
    return address.startswith(("/ip4/127.", "/ip6/::1/"))


def _arguments(key: int, control: str, listen: Sequence[str], announce: Sequence[str], client: bool) -> list[str]:
    program = str(importlib.resources.files("hivemind.hivemind_cli") / "p2pd")
    arguments = [
        program,
        f"-id=/dev/fd/{key}",
        f"-listen=/unix{control}",
        "-dhtClient=1" if client else "-dhtServer=1",
        "-tls=1",
        "-relay=1",
        "-autonat=1",
        "-connManager=1",
    ]
    if client:
        arguments.append("-noListenAddrs=1")
    else:
        arguments.append(f"-hostAddrs={','.join(listen)}")
    if not client and not all(map(is_loopback, listen)):
        arguments.append("-natPortMap=1")
    if announce:
        arguments.append(f"-announceAddrs={','.join(announce)}")
    return tied(arguments, signal.SIGKILL)


def _check_addresses(addresses: Sequence[str], name: str) -> None:
    for address in addresses:
        try:
            check_listen(address)
        except AddressError as error:
            raise ConfigError(f"{name} {address[:80]!r} {error}; write it like /ip4/0.0.0.0/tcp/4001") from None


def _require_free(listen: Sequence[str]) -> None:
    """ResourceError where somebody listens already. Two daemons could share a port (SO_REUSEPORT), and neither know."""
    for address in listen:
        found = re.fullmatch(r"/ip4/([0-9.]+)/tcp/([1-9][0-9]*)", address)
        if found is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just closed is free
            try:
                probe.bind((found.group(1), int(found.group(2))))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _start_failure("address already in use", [":".join(found.groups())]) from None


def _start_failure(said: str, listen: Sequence[str]) -> ConfigError | ResourceError | NetworkError:
    wanted = ", ".join(listen)
    if "address already in use" in said:
        return ResourceError(f"the port of {taken_port(said, wanted)} is taken; end the other process or use --listen")
    if "cannot assign requested address" in said:
        return ConfigError(f"listen {wanted}: this machine does not have that address; use /ip4/0.0.0.0/tcp/...")
    if "permission denied" in said:
        return ResourceError(f"listen {wanted}: permission denied; use a port from 1024 to 65535")
    return NetworkError(f"hivemind's daemon did not start: {said[:300]}; run `bloomswarm doctor`")


def taken_port(said: str, wanted: str) -> str:
    """The address:port that Go's error names, else all that was asked for."""
    found = re.search(r"listen (?:tcp|udp)[46]? ([^ ]+): bind: address already in use", said)
    return found.group(1) if found else wanted


def _ending(code: int, lines: Sequence[str]) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    said = f", saying {lines[-1]!r}" if lines else ""
    return f"hivemind's daemon {how}{said}"
