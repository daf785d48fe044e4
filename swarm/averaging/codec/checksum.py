"""The checksum of a frame: CRC-32 over sums of columns of its words.

Frames are checked on every decode, and CRC-32 of all bytes alone took as long as decoding them
(docs/decisions.md). So the body is laid out as rows of 1,021 little-endian 64-bit words (the last row padded with
zeros), the columns are added modulo 2^64, and the CRC runs over the sums. Damage within any 8,168 bytes changes
columns once each and is found as CRC-32 would find it; blocks that change places are found because no power of two
is a multiple of a row. It is against accidents; against liars the round compares digests.
"""

from __future__ import annotations

import zlib

import numpy as np

COLUMNS = 1021  # prime


def checksum(head: bytes | memoryview, body: np.ndarray) -> int:
    """CRC-32 of `head` and of the column sums of `body`, (bytes,) uint8."""
    whole = len(body) // 8
    words = body[: whole * 8].view("<u8")
    rows, rest = divmod(whole, COLUMNS)
    sums = np.add.reduce(words[: rows * COLUMNS].reshape(rows, COLUMNS), 0)  # wraps modulo 2^64 everywhere
    sums[:rest] += words[rows * COLUMNS :]
    if tail := len(body) % 8:
        sums[rest : rest + 1] += np.uint64(int.from_bytes(body[-tail:].tobytes(), "little"))
    return zlib.crc32(sums.astype("<u8", copy=False), zlib.crc32(head))
