"""Coming back to the swarm's step: the state of a peer that is there, checked, in place of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from peers.state.donor import download
from swarm.errors import LinkError, NetworkError, ResourceError, SwarmError
from swarm.run.sizing import show_bytes
from swarm.state.state_file import file_size, state_from_bytes

if TYPE_CHECKING:
    from peers.state.certified import StateFetcher
    from peers.telling.reporter import Reporter
    from swarm.averaging.averager import Missed
    from swarm.network.host import Network
    from swarm.records import ProgressRecord
    from swarm.run.manifest import Manifest
    from swarm.state.shared import SharedState

RETRY_SECONDS, LONGEST_SECONDS = 1.0, 8.0  # before the next attempt, doubled each time


class CatchUp:
    """Called by the trainer after a missed round. `lock` is held while the state changes."""

    def __init__(
        self, network: Network, manifest: Manifest, state: SharedState, lock: threading.Lock, reporter: Reporter
    ) -> None:
        self.network, self.manifest, self.state = network, manifest, state
        self.lock, self.reporter = lock, reporter

    def __call__(self, missed: Missed) -> bool:
        """Where the swarm went on without us, take its state; else there is nothing to do."""
        return missed.behind and self.take(self.reporter.progress.trainers())

    def at_start(self, live: Mapping[str, ProgressRecord]) -> bool:
        """Before the first step of a peer that comes to a running swarm. True where the state was replaced."""
        return self.take(live)

    def take(self, live: Mapping[str, ProgressRecord]) -> bool:
        """Download the newest state from peers that are further than we are. False where none is, or none gives it."""
        ahead = {peer: record.step for peer, record in live.items() if record.step > self.state.step}
        donors = sorted((peer for peer in ahead if peer != self.network.peer_id), key=lambda peer: -ahead[peer])
        if not donors:
            return False
        self.reporter.state("downloading")
        try:
            data = download(self.network, donors, file_size(self.manifest), self._progress)
            state = state_from_bytes(self.manifest, data)
        except (NetworkError, SwarmError) as error:
            self.reporter.download(completed=False)
            self.reporter.note(f"The swarm's state could not be had yet: {error}")
            return False
        finally:
            self.reporter.state("training")
        with self.lock:
            self.state.adopt(state)
        self.reporter.download(completed=True)
        self.reporter.note(f"Caught up with the swarm at step {self.state.step}.")
        return True

    def _progress(self, done: int, total: int, donor: str) -> None:
        if done == total:
            self.reporter.note(f"Took the run's state, {show_bytes(total)}, from a peer.")


class RoundCatchUp:
    """The same for the round of docs/protocol.md: only a state that the log certifies is taken.

    `pause` waits so many seconds before the next attempt; `initial` makes the state of step 0.
    """

    def __init__(
        self,
        fetcher: StateFetcher,
        state: SharedState,
        reporter: Reporter,
        *,
        initial: Callable[[], SharedState],
        pause: Callable[[float], object],
    ) -> None:
        self.fetcher, self.state, self.reporter = fetcher, state, reporter
        self.initial, self.pause = initial, pause
        self.failed, self.told = 0, ""  # attempts in a row, and the last cause that was said

    def at_start(self, live: Mapping[str, ProgressRecord]) -> bool:
        """Nothing: the round itself finds out where the swarm is, and replays what can be replayed."""
        return False

    def __call__(self, missed: Missed) -> bool:
        """Where the swarm is too far ahead to be followed round by round, take a certified state."""
        if not missed.behind:
            return False
        self.reporter.state("downloading")
        donors, before = self.donors(), self.state.step
        try:
            head = self.fetcher.fetch(donors, self.state, self.initial)
        except SwarmError as error:
            self.reporter.download(completed=False)
            if isinstance(error, LinkError | ResourceError):  # neither gets better by trying again
                self.reporter.state("training")
                raise
            self._without(len({*donors} - {self.fetcher.network.peer_id}), str(error))
            return False
        self.failed, self.told = 0, ""
        self.reporter.state("training")
        if not self.fetcher.averager.restored(head):
            return True  # the log went elsewhere meanwhile: it will say so, and this is tried again
        self.reporter.download(completed=True)
        same = self.state.step == before == 0
        self.reporter.note(
            "No newer state is certified: following the swarm from its beginning, round by round."
            if same
            else f"Took the state of step {self.state.step}; following the swarm from there."
        )
        return True

    def _without(self, asked: int, why: str) -> None:
        """Nobody gives it now: each cause is said once, and it is tried again, ever less often."""
        seconds = min(LONGEST_SECONDS, RETRY_SECONDS * 2**self.failed)
        self.failed += 1
        self.reporter.lacks_state(asked)
        if why != self.told:
            self.told = why
            self.reporter.note(f"The swarm's state could not be had yet, and is asked for again: {why}")
        self.pause(seconds)

    def donors(self) -> list[str]:
        """Everybody who may have checkpoints. Who has none says so at once."""
        records = self.reporter.progress.records()
        return [peer for peer, record in records.items() if record.role != "monitor"]
