"""Who comes when the run has ended: it follows the log to its end, as any newcomer, and keeps the final checkpoint.

No text is read and no model built. What it fetches is certified like any state; only the wait for it has an end.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from peers.finding.ending import ASK, Ending, keeps
from peers.roles.assistant import Assistant, Help
from peers.telling.farewell import farewell
from swarm.errors import EndedError
from swarm.run.manifest import Manifest

PATIENCE_SECONDS, LOOK_SECONDS = 90.0, 1.0  # without anything that comes
ALONE_SECONDS = 15.0  # the same where nobody who is here keeps the state


class Latecomer(Assistant):
    def __init__(self, *arguments: Any, over: Ending, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.over = over

    def require_fit(self) -> None:
        """Also behind a strict NAT. Averaging that certifies nothing leaves nothing to fetch that could be believed."""
        if self.manifest.averaging.algorithm != "round":
            raise EndedError(f"{self.over.words}, and its states are not certified: {ASK}")

    def making(self) -> Help:
        words = f"{self.over.words}: its final checkpoint is fetched, nothing is trained"
        self.say(f"{words[0].upper()}{words[1:]}.")
        return Help()

    def wait_for(self, peers: int) -> None:
        """There is nobody to wait for."""
        self.progress.tell(step=self.state.step, state="downloading")

    def end_of(self, version: Manifest) -> int:
        return self.over.step

    def train(self) -> None:
        threading.Thread(target=self.lose_patience, name="patience", daemon=True).start()
        super().train()

    def lose_patience(self) -> None:
        """Ends the wait where nothing comes any more."""
        came, seen = time.monotonic(), (-1, "")
        while not self.leave.event.wait(LOOK_SECONDS) and self.state.step < self.over.step:
            now = (self.state.step, self.reporter.exporter.detail)
            if now != seen:
                came, seen = time.monotonic(), now
            elif time.monotonic() - came > (PATIENCE_SECONDS if self.kept() else ALONE_SECONDS):
                self.leave.now("nothing came")

    def kept(self) -> bool:
        """Does anybody else say that it has the state?"""
        records = self.progress.records().items()
        return any(keeps(record, self.over.step) for peer, record in records if peer != self.network.peer_id)

    def end(self) -> bool:
        finished = self.state.step >= self.over.step
        if not finished and self.leave.reason == "nothing came":
            raise EndedError(f"{self.over.words}, and its final checkpoint did not come: {ASK}, or try again later")
        self.progress.tell(step=self.state.step)
        self.reporter.state("finished" if finished else "leaving")
        path = self.saving.last(finished)
        farewell(self.reporter, finished, path, self.state, "The run had ended before this peer came.")
        return finished
