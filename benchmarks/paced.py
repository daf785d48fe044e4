"""The command line, with computing that takes time and no processor: `benchmarks.joining` starts its peers with it.

    python -m benchmarks.paced record RUN          prints what samples take here, computed for real
    python -m benchmarks.paced SECONDS COMMAND ...

SECONDS: as `record` printed them; replayed one after another. Everything else of the peer is as it is: model, text,
rounds, state, checkpoints. It imports what it needs when a peer does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import peers.commands.join
from peers.cli import main

if TYPE_CHECKING:
    from peers.roles.peer import Peer


def replay(seconds: str, arguments: list[str]) -> None:
    """Run a command of bloomswarm whose peer computes for so long."""
    real = peers.commands.join.trainer

    def trainer() -> type[Peer]:
        from benchmarks import pacing

        pacing.pace([float(each) for each in seconds.split(",")])
        return real()

    peers.commands.join.trainer = trainer
    main(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "record":
        from benchmarks.pacing import record
        from peers.run_folder import RunFolder

        print(",".join(f"{each:.4f}" for each in record(RunFolder(Path(sys.argv[2])).manifest().manifest)))
    else:
        replay(sys.argv[1], sys.argv[2:])
