"""A real peer that does wrong while a file tells it to: `python -m tests.monitoring.misfit join LINK --dir D ...`.

The word in `D/misdeed` is one of `DEEDS`, or nothing: then the peer is honest. All else is the peer's own code.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

DEEDS = ("lie", "diverge", "skip-french", "clock")
LOOK_SECONDS = 0.2
AHEAD_SECONDS = 25.0
told = ""


def listen(file: Path) -> None:
    """Keep `told` what the file says."""
    global told
    while True:
        told = file.read_text() if file.exists() else ""
        threading.Event().wait(LOOK_SECONDS)


def lie() -> None:
    """About its loss and its samples, in what it tells the swarm."""
    from swarm.records import ProgressRecord

    honest = ProgressRecord.to_bytes
    claims = {"loss": 0.01, "total_samples": 10**12, "samples_per_second": 1e8}
    ProgressRecord.to_bytes = lambda self: honest(self.model_copy(update=claims) if told == "lie" else self)  # type: ignore[method-assign]


def diverge() -> None:
    """Another step than the certified one, each time."""
    from swarm.state.shared import SharedState

    apply = SharedState.apply

    def wrong(self: SharedState, outcome: object) -> None:
        apply(self, outcome)  # type: ignore[arg-type]
        if told == "diverge":
            self.parameters[:] *= 1.001

    SharedState.apply = wrong  # type: ignore[method-assign]


def skip_french() -> None:
    """Samples in French are passed over."""
    from swarm.data.plan import Plan

    everything = Plan.slots_of

    def others(self: Plan, roster: tuple[str, ...], peer_id: str, step: int, *more: object) -> Iterator[int]:
        for slot in everything(self, roster, peer_id, step, *more):  # type: ignore[arg-type]
            sample = self.sample(step, slot)
            if told != "skip-french" or sample is None or sample.language != "fr":
                yield slot

    Plan.slots_of = others  # type: ignore[method-assign]


def wrong_clock() -> None:
    """The clock jumps ahead."""
    right = time.time
    time.time = lambda: right() + (AHEAD_SECONDS if told == "clock" else 0.0)


def main() -> None:
    folder = Path(sys.argv[sys.argv.index("--dir") + 1])
    threading.Thread(target=listen, args=(folder / "misdeed",), daemon=True).start()
    for prepare in (lie, diverge, skip_french, wrong_clock):
        prepare()
    from peers.cli import main as bloomswarm

    bloomswarm()


if __name__ == "__main__":
    main()
