"""The command line on a machine whose clock is wrong: as many seconds ahead as a file says, also while it runs.

python -m tests.peers.wrong_clock FILE COMMAND ...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.2  # between two looks at the file


class Clock:
    def __init__(self, place: Path) -> None:
        self.place, self.right, self.ahead, self.looked = place, time.time, 0.0, 0.0

    def __call__(self) -> float:
        now = self.right()
        if now - self.looked > LOOK_SECONDS:
            self.looked, self.ahead = now, float(self.place.read_text(encoding="ascii"))
        return now + self.ahead


if __name__ == "__main__":
    time.time = Clock(Path(sys.argv[1]))  # before anything else is imported that takes it by name
    from peers.cli import main

    main(sys.argv[2:])
