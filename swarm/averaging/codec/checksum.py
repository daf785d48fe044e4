"""The checksum of a frame: CRC-32 over sums of columns of its words.

Frames are checked on every decode, and CRC-32 of all bytes alone took as long as decoding them
(docs/decisions.md). So the body is laid out as rows of 1,021 little-endian 64-bit words (the last row padded with
zeros), the columns are added modulo 2^64, and the CRC runs over the sums. Damage within any 8,168 bytes changes
columns once each and is found as CRC-32 would find it; blocks that change places are found because no power of two
is a multiple of a row. It is against accidents; against liars the round compares SHA-256 digests.
"""

from __future__ import annotations

import zlib

import numpy as np

COLUMNS = 1021  # prime


def checksum(head: bytes | memoryview, body: np.ndarray) -> int:
    """CRC-32 of `head` and of the column sums of `body`, (bytes,) uint8."""
    words = body[: len(body) // 8 * 8].view("<u8")
    rows = len(words) // COLUMNS
    sums = words[: rows * COLUMNS].reshape(rows, COLUMNS).sum(0, dtype=np.uint64)  # wraps modulo 2^64 everywhere
    rest = words[rows * COLUMNS :]
    sums[: len(rest)] += rest
    tail = body[len(words) * 8 :]
    last = np.zeros(8, np.uint8)
    last[: len(tail)] = tail
    sums[len(rest) : len(rest) + 1] += last.view("<u8")
    return zlib.crc32(sums.astype("<u8", copy=False), zlib.crc32(head))
