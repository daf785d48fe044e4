"""A lone peer that dies by SIGKILL: `python -m tests.swarm.averaging.live.owing FOLDER ROUNDS`.

It takes part in two rounds, saves position and residuals as a checkpoint does, takes part in ROUNDS more, and kills
itself. ROUNDS -1: it dies while it writes the residuals, in the middle of the file.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from swarm import durable
from swarm.averaging.averager import Averaged
from swarm.averaging.live import residuals
from swarm.averaging.live.positions import position_to_bytes
from swarm.network.host import Network
from swarm.trust.identity import Identity
from tests.swarm.averaging.live.trainees import Trainee, manifest


@contextmanager
def dying(path: Path) -> Iterator[BinaryIO]:
    """In place of `synced`: half of what was written is on disk, and the process is gone."""
    with durable.synced(path) as file:
        yield file
        file.flush()
        file.truncate(file.tell() // 2)
        os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, rounds: int) -> None:
    run = manifest()
    with Network(Identity.load_or_create(folder / "key"), run.digest) as network:
        peer = Trainee(network, run, 0, alive={}, folder=folder / "rounds")
        for _ in range(2):
            assert isinstance(peer.turn(), Averaged)
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        (checkpoint / "position").write_bytes(position_to_bytes(peer.averager.position()))
        if rounds < 0:
            residuals.synced = dying  # type: ignore[attr-defined]
        peer.averager.save_residuals(checkpoint)
        for _ in range(rounds):
            assert isinstance(peer.turn(), Averaged)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
