"""The last thing a peer says: where it got to, what the volunteer gave, where the model is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.run.sizing import show_bytes, show_seconds
from swarm.trust.identity import friendly_name

if TYPE_CHECKING:
    from peers.lifecycle import Leave
    from peers.telling.progress import Progress
    from peers.telling.reporter import Reporter
    from swarm.state.shared import SharedState

LINGER_SECONDS, WAIT_SECONDS = 10.0, 0.1
TOLD_LANGUAGES = 5  # by name


def linger(progress: Progress, last_step: int, leave: Leave) -> None:
    """Who is done stays for a moment, so that the others can still get the last round from somebody."""
    deadline = time.monotonic() + LINGER_SECONDS
    progress.tell(step=last_step)
    while time.monotonic() < deadline and not leave:
        live = [record for record in progress.records().values() if record.role in ("trainer", "assistant")]
        if all(record.step >= last_step or record.state == "leaving" for record in live):
            return
        leave.event.wait(WAIT_SECONDS)


def farewell(
    reporter: Reporter, finished: bool, checkpoint: Path | None, state: SharedState, words: str | None = None
) -> None:
    """One event. checkpoint: None where the disk could keep none. words: in place of what was given."""
    seconds, network = time.monotonic() - reporter.began, reporter.network
    end = f"Reached step {state.step}." if finished else f"Left at step {state.step}."
    kept = f"Checkpoint: {checkpoint}" if checkpoint is not None else "No checkpoint could be kept."
    reporter.events(
        "finished" if finished else "left",
        f"{end} {words or given(reporter, seconds)} {kept}",
        peer_id=network.peer_id,
        name=friendly_name(network.peer_id),
        step=state.step,
        checkpoint=str(checkpoint or ""),
        digest=state.parameters_digest(),
        parameters=state.layout.size,
        rounds=dict(reporter.rounds),
        bytes=dict(reporter.bytes),
        samples=reporter.samples,
        tokens=dict(reporter.tokens),
        seconds=round(seconds, 1),
        identical_required=reporter.manifest.averaging.algorithm == "round",
    )


def given(reporter: Reporter, seconds: float) -> str:
    """Samples, tokens by language, rounds, time, traffic."""
    traffic = reporter.network.traffic
    what = "averaged for others"
    if reporter.progress.role == "trainer":
        told = [f"{code} {count:,}" for code, count in reporter.tokens.most_common(TOLD_LANGUAGES)]
        more = len(reporter.tokens) - len(told)
        told += [f"{more} more languages"] if more else []
        what = f"gave {reporter.samples:,} samples ({sum(reporter.tokens.values()):,} tokens: {', '.join(told) or '-'})"
    return (
        f"You {what} in {reporter.rounds['committed']:,} rounds and {show_seconds(seconds)}; "
        f"sent {show_bytes(traffic.total('sent'))}, received {show_bytes(traffic.total('received'))}. Thank you."
    )
