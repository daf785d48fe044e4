"""One peer as a process of its own, to be ended by SIGKILL: `python -m tests.swarm.averaging.live.mortal OPTIONS`.

It trains on gradients that anybody can compute, tells the others in a folder how far it is (in a real run: the DHT),
leaves certified states there for those who are behind (in a real run: donors), and writes a line of JSON after every
step. Started again, it is the same peer and goes on with what its disk holds. `moment` makes the first peer that gets
there kill itself right then, with nothing sent of what that very moment asked for.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from swarm.averaging.averager import Averaged, Contribution
from swarm.averaging.live.averager import RoundAverager
from swarm.averaging.live.driver import Driver
from swarm.averaging.live.start import Start, Surroundings
from swarm.averaging.round.peer import Peer
from swarm.network.host import Network
from swarm.records import ProgressRecord
from swarm.state.shared import SharedState
from swarm.state.state_file import state_from_bytes, state_to_bytes
from swarm.trust.identity import Identity
from tests.swarm.averaging.live.parting import Parting
from tests.swarm.averaging.live.trainees import gradient, manifest

FRESH_SECONDS = 3.0  # after which a peer that tells nothing is taken for gone
BEAT_SECONDS = 0.5


@dataclass(frozen=True)
class Options:
    """round: the one in which `moment` counts; 0: never. wait_for: peers before the first round."""

    name: int
    folder: str
    wait_for: int
    seeds: list[str] = field(default_factory=list)
    moment: str = ""
    round: int = 0

    @property
    def journal(self) -> Path:
        return Path(self.folder) / f"{self.name}.jsonl"

    def arguments(self) -> list[str]:
        return [sys.executable, "-m", "tests.swarm.averaging.live.mortal", json.dumps(asdict(self))]


def certified_alone(core: Peer) -> bool:
    """Its vote was the certificate, and nobody has heard of it."""
    return core.log.tip.round > 0 and len(core.log.tip.electorate) == 1


def hosting(phase: str) -> Callable[[Peer], bool]:
    return lambda core: core.host is not None and core.host.phase == phase


def reducing(core: Peer) -> bool:
    """It has all parts of a span and has told nobody the mean."""
    return core.host is None and any(task.senders for task in core.reducer.tasks.values())


def voted(core: Peer) -> bool:
    return core.host is None and core.member.pledge.cast is not None


MOMENTS: dict[str, Callable[[Peer], bool]] = {
    "a host that has called": hosting("calling"),
    "a host that has announced the roster": hosting("rostered"),
    "a host that has proposed": hosting("proposed"),
    "a reducer with all parts": reducing,
    "a member that has voted": voted,
}

LONELY = {"a peer that has certified a round alone": certified_alone}


class Mortal:
    def __init__(self, options: Options) -> None:
        self.options, self.folder = options, Path(options.folder)
        self.run = manifest()
        own = self.folder / str(options.name)
        own.mkdir(exist_ok=True)
        identity = Identity.load_or_create(own / "key")
        self.network = Network(identity, self.run.digest, initial_peers=options.seeds).start()
        self.state = self._initial()
        self.parting: Parting | None = None
        self.averager = RoundAverager(
            self.network,
            self.run,
            self.state.layout,
            span_digests=self.state.span_digests,
            root=self.state.root,
            start=Start.genesis(self.run, own),
            surroundings=Surroundings(self.alive, wait_for=options.wait_for),
        )
        self.parting = Parting(self.network, self.averager.driver, self.folder / "sides")
        if options.moment:
            self._dies(self.averager.driver, (MOMENTS | LONELY)[options.moment])
        threading.Thread(target=self._beat, daemon=True).start()
        replayed = self.averager.replayed
        self.write(addresses=self.network.addresses(), peer=self.network.peer_id, replayed=replayed)

    def _dies(self, driver: Driver, moment: Callable[[Peer], bool]) -> None:
        feed = driver.feed

        def watched(event: object) -> None:
            feed(event)  # type: ignore[arg-type]
            if driver.core.log.tip.round + 1 == self.options.round and moment(driver.core) and self._first():
                os.kill(os.getpid(), signal.SIGKILL)

        driver.feed = watched  # type: ignore[method-assign]

    def _first(self) -> bool:
        """Only one peer of the test dies."""
        try:
            os.close(os.open(self.folder / "died", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _beat(self) -> None:
        place = self.folder / "alive" / self.network.peer_id
        while True:
            if self.parting is not None:
                self.parting.look()
            making = place.with_suffix(".making")
            making.write_text(str(self.state.step))
            os.replace(making, place)
            time.sleep(BEAT_SECONDS)

    def alive(self) -> Mapping[str, ProgressRecord]:
        found, away = {}, self.parting.away if self.parting is not None else frozenset()
        for place in (self.folder / "alive").iterdir():
            if place.suffix or place.name in away:
                continue
            if time.time() - place.stat().st_mtime < FRESH_SECONDS:
                step = int(place.read_text())
                found[place.name] = ProgressRecord(step=step, state="training", role="trainer", version="0.1.0")
        return found

    def write(self, **line: object) -> None:
        with self.options.journal.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def train(self) -> None:
        while True:
            step, done = self.state.step, 0
            while not self.averager.due(step, done):
                time.sleep(0.005)
                done = min(4, done + 2)
            vector = gradient(self.state.layout.size, self.options.name, step)
            outcome = self.averager.average(step, Contribution(vector, float(done), done))
            if isinstance(outcome, Averaged):
                self.state.apply(outcome)
                self._applied(outcome)
            else:
                self.write(missed=outcome.reason)
                if outcome.behind and not self._fetch():
                    time.sleep(0.1)

    def _applied(self, outcome: Averaged) -> None:
        position = self.averager.position()
        self.write(
            step=self.state.step,
            digest=self.state.digest(),
            lineage=position.lineage.hex(),
            members=[member.peer_id for member in outcome.roster if member.samples],
            void=outcome.stats.void_spans,
            forks=self.averager.figures.forks,
            lost=self.averager.figures.lost_rounds,
            at=time.monotonic(),
        )
        if self.averager.terms.whole(position.round):
            place = self.folder / "states" / position.head.hex()
            making = place.with_suffix(f".{self.options.name}")
            making.write_bytes(state_to_bytes(self.state))
            os.replace(making, place)

    def _fetch(self) -> bool:
        """Take the newest state that the log certifies."""
        for wanted in self.averager.wanted():
            place = self.folder / "states" / wanted.head.hex()
            if wanted.step and not place.exists():
                continue
            state = state_from_bytes(self.run, place.read_bytes()) if wanted.step else self._initial()
            self.state.adopt(state)
            return self.averager.restored(wanted.head)
        return False

    def _initial(self) -> SharedState:
        size = SharedState.empty(self.run, 0, 0).layout.size
        return SharedState.initial(self.run, np.zeros(size, np.float32))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    Mortal(Options(**json.loads(sys.argv[1]))).train()
