"""Part of a file through a socket: the same bytes, whether the kernel moves them or this process does."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from swarm.network.caps import Caps
from swarm.network.file_part import FilePart
from swarm.network.pipe import Pipe

PLACES = [(5, 700_000), (1_500_000, 1), (900_000, 300_000)]


def made(folder: Path) -> tuple[Path, bytes]:
    content = os.urandom(2_000_000)
    path = folder / "file"
    path.write_bytes(content)
    return path, b"".join(content[offset : offset + size] for offset, size in PLACES)


async def through(part: FilePart, caps: Caps, size: int) -> bytearray:
    """What comes out at the other end, whose reader is slower than the writer."""
    one, other = socket.socketpair(socket.AF_UNIX)
    one.setblocking(False)
    other.setblocking(False)
    sender, taker = Pipe(one), Pipe(other)
    sender.caps = caps
    sending = asyncio.ensure_future(sender.write(b"head", part))
    try:
        assert await taker.read(4) == b"head"
        return await taker.read(size)
    finally:
        await asyncio.gather(sending, return_exceptions=True)
        sender.close()
        taker.close()


@pytest.mark.parametrize("caps", [Caps(), Caps(upload_mbit=400.0)], ids=["uncapped", "capped"])
@pytest.mark.parametrize("here", [True, False], ids=["kernel", "copied"])
def test_the_same_bytes_also_when_the_file_was_closed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool, caps: Caps
) -> None:
    def cannot(*_: Any) -> int:
        raise OSError(errno.EINVAL, "not on this file system")

    if not here:
        monkeypatch.setattr(os, "sendfile", cannot)
    path, expected = made(tmp_path)
    with path.open("rb") as file:
        part = FilePart.of(file.fileno(), PLACES).warm()
    path.unlink()
    assert len(part) == len(expected)
    assert asyncio.run(through(part, caps, len(expected))) == expected
    part.close()


def test_a_slice_is_that_part_of_its_bytes(tmp_path: Path) -> None:
    path, expected = made(tmp_path)
    content = path.read_bytes()
    with path.open("rb") as file:
        part = FilePart.of(file.fileno(), PLACES)
    for start, end in [(0, 10), (699_990, 700_020), (1, 10**9), (700_000, 700_001), (5, 5), (10**7, 10**8)]:
        piece = part[start:end]
        assert b"".join(content[offset : offset + size] for offset, size in piece.places) == expected[start:end]
        assert len(piece) == len(expected[start:end])
    part.close()


def test_a_file_that_has_become_shorter_ends_the_stream(tmp_path: Path) -> None:
    path, expected = made(tmp_path)
    with path.open("r+b") as file:
        part = FilePart.of(file.fileno(), PLACES)
        file.truncate(1_000_000)

    async def send() -> None:
        one, other = socket.socketpair(socket.AF_UNIX)
        one.setblocking(False)
        reading = asyncio.get_running_loop().run_in_executor(None, other.recv, len(expected), socket.MSG_WAITALL)
        try:
            await Pipe(one).write(part)
        finally:
            one.close()
            await reading
            other.close()

    with pytest.raises(EOFError, match="early"):
        asyncio.run(send())
    part.close()
