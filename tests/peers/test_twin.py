"""Another process with our key, as the directory shows it; and looking for others with ever more patience."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from peers.telling import progress as module
from peers.telling.progress import Progress, is_twin
from peers.twin import refuse_twin
from swarm.errors import IdentityError, NetworkError
from swarm.records import ProgressRecord
from swarm.trust.identity import Identity
from tests.peers.swarm_demo import wait_until

ME = Identity.generate()
NETWORK: Any = SimpleNamespace(peer_id=ME.peer_id, identity=ME)


def record(clock: float, started: float = 100.0, where: str = "/ip4/203.0.113.7/tcp/4001") -> ProgressRecord:
    addresses = (f"{where}/p2p/{ME.peer_id}",)
    return ProgressRecord(
        step=1, state="training", role="trainer", version="0.1.0", clock=clock, started=started, addresses=addresses
    )


def looks(*found: ProgressRecord | None) -> Any:
    answers: Iterator[ProgressRecord | None] = iter([*found, *[found[-1]] * 1000])
    return lambda network: {ME.peer_id: one} if (one := next(answers)) is not None else {}


def test_a_record_that_goes_on_being_written_is_another_process() -> None:
    with pytest.raises(IdentityError, match=r"already runs in another process at /ip4/203.0.113.7/tcp/4001; .*--dir"):
        refuse_twin(NETWORK, looks(record(1.0), record(1.0), record(4.0)), pause=0.0)


def test_what_our_former_process_left_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peers.twin.WATCH_SECONDS", 0.05)
    refuse_twin(NETWORK, looks(None), pause=0.0)
    refuse_twin(NETWORK, looks(record(1.0), None), pause=0.0)
    refuse_twin(NETWORK, looks(record(1.0)), pause=0.0)


def test_of_two_that_began_at_once_the_later_one_yields() -> None:
    assert is_twin(record(clock=201.0, started=199.0), started=200.0)
    assert not is_twin(record(clock=201.0, started=200.5), started=200.0), "ours, or a later one, which yields itself"
    assert not is_twin(record(clock=150.0, started=100.0), started=200.0), "our former process"
    assert not is_twin(None, 200.0)


class Directory:
    """What a peer hears; `others` may come and go, and asking may fail."""

    peer_id = ME.peer_id
    guard = None  # the run is open

    def __init__(self) -> None:
        self.others: list[Any] = []
        self.fails = False

    def publish(self, *_: object) -> bool:
        return True

    def note_addresses(self, peer_id: str, addresses: object) -> None: ...

    def read(self, kind: str, seconds: float | None = None) -> list[Any]:
        if self.fails:
            raise NetworkError("nobody answers")
        return self.others

    def reject(self, reason: str) -> None:
        raise AssertionError(reason)


def test_who_has_lost_everybody_asks_again_with_growing_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LONELY_SECONDS": 0.05, "LONGEST_SECONDS": 0.15, "SHORTEST_SECONDS": 0.01}.items():
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(module, "REPEAT_SECONDS", 0.01)
    waits: list[float] = []
    found = threading.Event()
    directory: Any = Directory()
    with Progress(directory, "trainer", lonely=waits.append, found=found.set) as progress:
        progress.tell(step=1, state="training")
        wait_until(lambda: len(waits) >= 4, 10, "four searches")
        assert waits[:4] == [0.1, 0.15, 0.15, 0.15]
        other = Identity.generate().peer_id
        directory.others = [SimpleNamespace(peer_id=other, payload=record(1.0).to_bytes())]
        assert found.wait(10)
