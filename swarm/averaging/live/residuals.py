"""What the encoding of earlier rounds has lost and the next one adds: error feedback as a transaction, 2 bytes a value.

One table for what this peer sends, one for what it reduces. Encoding a contribution replaces a span's residual in
place; if the outcome does not count on that encoding, the old one is put back: old = new + decoded - value. So nobody
holds two residuals of a whole vector while a round is under way. What is put back differs from what was there by at
most bfloat16's rounding of the new one (0.4 % of an error that is itself 1 % of a value). A reducer, whose share of the
vector is small, holds both (`arithmetic`).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from swarm.averaging.codec import Codec, Frame, decode
from swarm.averaging.codec.coding import bfloat16_tensor
from swarm.digest import content_digest, content_digest_of
from swarm.durable import sync_folder, synced

NAME = "residuals.bin"
FORMAT = "bloomswarm-residuals-2"
LENGTH = struct.Struct("<I")
MAX_HEAD_BYTES = 1 << 24


@dataclass(frozen=True)
class Trial:
    """An encoding whose outcome is not known: enough to put the old residual back."""

    frame: Frame
    values: np.ndarray  # what was encoded, without the residual


class Residuals:
    """(values,) uint16 for each span, bfloat16 bits, or None for zeros. `dropped` sums what was given up, squared."""

    def __init__(self, codec: Codec, sizes: tuple[int, ...]) -> None:
        self.codec, self.sizes = codec, sizes
        self.table: list[np.ndarray | None] = [None] * len(sizes)
        self.dropped = 0

    def __getitem__(self, span: int) -> np.ndarray | None:
        return self.table[span]

    def replace(self, span: int, residual: np.ndarray) -> None:
        self.table[span] = residual

    def put_back(self, span: int, trial: Trial) -> None:
        """The residual from before this encoding."""
        self.table[span] = self.before(span, trial)

    def before(self, span: int, trial: Trial) -> np.ndarray | None:
        now = self.table[span]
        if now is None:
            return None
        decoded = torch.from_numpy(decode(self.codec, memoryview(trial.frame), self.sizes[span]))
        decoded.add_(bfloat16_tensor(now))
        decoded.sub_(torch.from_numpy(np.ascontiguousarray(trial.values)))
        result = np.empty(self.sizes[span], np.uint16)
        bfloat16_tensor(result).copy_(decoded)
        return result

    def drop(self, span: int) -> None:
        """Give a span's residual up, and count it."""
        if self.table[span] is not None:
            self.table[span] = None
            self.dropped += 1

    @property
    def memory_bytes(self) -> int:
        return sum(item.nbytes for item in self.table if item is not None)


def save_residuals(folder: Path, head: bytes, tables: list[list[np.ndarray | None]]) -> None:
    """Write tables of residuals, stamped with the head of the log at which they hold. OSError leaves no file behind."""
    rows = [[item is not None for item in table] for table in tables]
    content = [item.astype("<u2", copy=False) for table in tables for item in table if item is not None]
    digest = content_digest_of(item.data for item in content).hex()
    stamp = json.dumps({"format": FORMAT, "head": head.hex(), "rows": rows, "digest": digest}).encode()
    try:
        with synced(folder / NAME) as file:
            file.write(LENGTH.pack(len(stamp)) + stamp)
            for item in content:
                file.write(item.data)
    except OSError:
        (folder / NAME).unlink(missing_ok=True)
        raise
    sync_folder(folder)


def load_residuals(folder: Path, head: bytes, tables: list[Residuals]) -> bool:
    """Take up residuals saved at exactly this head of the log. False, and zeros, where there are none or others.

    Rounds after `head` that hold something of this peer make the core reset what they touch, so that nothing that was
    sent is ever added again.
    """
    try:
        data = (folder / NAME).read_bytes()
        (size,) = LENGTH.unpack_from(data)
        stamp = json.loads(data[LENGTH.size : LENGTH.size + min(size, MAX_HEAD_BYTES)])
        rows, body = stamp["rows"], data[LENGTH.size + size :]
        if stamp["format"] != FORMAT or stamp["head"] != head.hex() or stamp["digest"] != content_digest(body).hex():
            return False
        if [len(row) for row in rows] != [len(table.sizes) for table in tables]:
            return False
        sizes = [[n if here else 0 for n, here in zip(t.sizes, row, strict=True)] for t, row in zip(tables, rows)]
        if 2 * sum(map(sum, sizes)) != len(body):
            return False
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return False
    values, start = np.frombuffer(body, "<u2").astype(np.uint16), 0
    for table, row in zip(tables, sizes, strict=True):
        for span, count in enumerate(row):
            table.table[span] = values[start : start + count].copy() if count else None
            start += count
    return True
