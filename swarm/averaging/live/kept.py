"""A peer's own contributions, as they were sent: the last few of those made from a state that it has a checkpoint of.

What a replay compares with. The Ready of each is in the log, signed, with the Merkle root of these frames: whoever is
given the file knows that it is what was averaged.

    length (4 bytes, little-endian) | JSON: base, step, staleness, samples, sizes of the frames, diary | the frames
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.averaging.averager import Contribution
from swarm.averaging.codec import Frame
from swarm.averaging.round.merkle import levels
from swarm.averaging.round.messages import MAX_SPANS
from swarm.digest import content_digest
from swarm.durable import sync_folder, synced
from swarm.errors import CheckpointError
from swarm.state.diary import Diary

LENGTH = struct.Struct("<I")
MAX_HEAD_BYTES = 1 << 21
NAME = re.compile(r"step-([0-9]{8,12})\.sent")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sent:
    """base: head of the log that its round builds on. staleness: its parameters are so many steps old."""

    base: bytes
    step: int
    staleness: int
    samples: int
    frames: tuple[bytes, ...]
    diary: Diary | None = None

    @property
    def root(self) -> bytes:
        """As its Ready has it."""
        return levels([content_digest(frame) for frame in self.frames])[-1][0]


class Keeper:
    """Writes what is due into `folder` and keeps the last `most`. every: as checkpoints are. Used from one thread."""

    def __init__(self, folder: Path, every: int, most: int) -> None:
        self.folder, self.every, self.most = folder, every, most

    def __call__(self, base: bytes, step: int, gift: Contribution, frames: Sequence[Frame]) -> None:
        """A contribution to the round of `step` was encoded. A disk that does not take it is logged: nothing waits."""
        if (step - gift.staleness) % self.every:
            return
        try:
            self._write(base, step, gift, frames)
            for _, old in kept(self.folder)[self.most :]:
                old.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the contribution to step %d could not be kept: %s", step, error)

    def _write(self, base: bytes, step: int, gift: Contribution, frames: Sequence[Frame]) -> None:
        sizes = [len(frame) for frame in frames]
        told = {"base": base.hex(), "step": step, "staleness": gift.staleness, "samples": gift.samples}
        more = {"sizes": sizes, "diary": gift.diary.to_json() if gift.diary is not None else None}
        head = json.dumps(told | more).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / f"step-{step:08d}.sent"
        making = place.with_suffix(".making")
        making.unlink(missing_ok=True)  # of a process that died
        with synced(making) as file:
            file.write(LENGTH.pack(len(head)) + head)
            for frame in frames:
                file.write(frame)
        making.replace(place)
        sync_folder(self.folder)


def kept(folder: Path) -> list[tuple[int, Path]]:
    """(step, file), the highest step first."""
    found = [(m, path) for path in folder.iterdir() if (m := NAME.fullmatch(path.name))] if folder.is_dir() else []
    return sorted(((int(match[1]), path) for match, path in found), reverse=True)


def read_sent(path: Path) -> Sent:
    """CheckpointError where it is damaged. Nobody's word is in it: compare `root` with a signed Ready."""
    try:
        data = path.read_bytes()
        (size,) = LENGTH.unpack_from(data)
        if size > MAX_HEAD_BYTES:
            raise ValueError
        told = json.loads(data[LENGTH.size : LENGTH.size + size])
        base, sizes = bytes.fromhex(told["base"]), told["sizes"]
        diary = Diary.of_json(told["diary"]) if told.get("diary") is not None else None
        step, staleness, samples = (told[name] for name in ("step", "staleness", "samples"))
        whole = all(type(number) is int and 0 <= number < 2**53 for number in (step, staleness, samples, *sizes))
        if not whole or not 0 < len(sizes) <= MAX_SPANS or sum(sizes) != len(data) - LENGTH.size - size:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error):
        raise CheckpointError(
            f"{path} is no contribution as a peer keeps it, or is damaged; use another step"
        ) from None
    frames, start = [], LENGTH.size + size
    for length in sizes:
        frames.append(data[start : start + length])
        start += length
    return Sent(base, step, staleness, samples, tuple(frames), diary)
