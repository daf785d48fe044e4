"""Part of a file as an answer: the kernel moves it from the page cache to the socket, this process never holds it.

Measured for 366 MB on one core: 0.014 s of its time, where reading into memory and sending from there took 0.10 s.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from io import FileIO

WARM_BYTES, COPY_BYTES = 1 << 16, 1 << 20
NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOTSOCK)


class FilePart:
    """`places`: (offset, bytes) in the file, one after another. A slice of it is another one, on the same descriptor.

    Close it; what is forgotten is closed with it.
    """

    def __init__(self, file: FileIO, places: Sequence[tuple[int, int]]) -> None:
        self._file, self.places = file, tuple(places)

    @classmethod
    def of(cls, descriptor: int, places: Sequence[tuple[int, int]]) -> FilePart:
        """With a descriptor of its own, so that the file may be closed meanwhile."""
        return cls(FileIO(os.dup(descriptor)), places)

    def __len__(self) -> int:
        return sum(size for _, size in self.places)

    def __getitem__(self, which: slice) -> FilePart:
        start, end, _ = which.indices(len(self))
        found, passed = [], 0
        for offset, size in self.places:
            first, last = max(start - passed, 0), min(end - passed, size)
            found += [(offset + first, last - first)] if last > first else []
            passed += size
        return FilePart(self._file, found)

    def warm(self) -> FilePart:
        """Wait, in a thread where that is allowed, until the disk has given it, so that `send` never waits for that."""
        for offset, size in self.places:
            if hasattr(os, "posix_fadvise"):  # else it is read a little slower
                os.posix_fadvise(self._file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)
            for at in range(offset, offset + size, WARM_BYTES):
                os.pread(self._file.fileno(), 1, at)
        return self

    async def send(self, sock: socket.socket) -> None:
        """All of it to a socket that does not block. EOFError where the file has become shorter."""
        for offset, size in self.places:
            await self._send(sock, offset, offset + size)

    async def _send(self, sock: socket.socket, offset: int, end: int) -> None:
        loop, offset = asyncio.get_running_loop(), self._move(sock, offset, end)
        if offset == end:
            return
        done = loop.create_future()

        def go_on() -> None:  # each time that the socket takes more: as little as possible
            nonlocal offset
            try:
                offset = self._move(sock, offset, end)
                if offset == end and not done.done():
                    done.set_result(None)
            except (OSError, EOFError) as error:
                if not done.done():
                    done.set_exception(error)

        loop.add_writer(sock.fileno(), go_on)
        try:
            await done
        finally:
            loop.remove_writer(sock.fileno())

    def _move(self, sock: socket.socket, offset: int, end: int) -> int:
        """As much as the socket takes now; where to go on."""
        while offset < end:
            try:
                sent = self._some(sock, offset, end - offset)
            except BlockingIOError:
                break
            if not sent:
                raise EOFError(f"the file ends {end - offset} bytes early")
            offset += sent
        return offset

    def _some(self, sock: socket.socket, offset: int, size: int) -> int:
        try:
            return os.sendfile(sock.fileno(), self._file.fileno(), offset, size)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
        return sock.send(os.pread(self._file.fileno(), min(size, COPY_BYTES), offset))  # a system that cannot

    def close(self) -> None:
        self._file.close()
