"""What a round sends, counted where it leaves: at most 2.05 bytes a parameter for a full peer, 1.02 in client mode."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import numpy as np
import pytest

from benchmarks.run import layout_of, manifest_of
from swarm.averaging.averager import Averaged, Contribution
from swarm.averaging.live.averager import RoundAverager
from swarm.averaging.live.start import Start, Surroundings
from swarm.records import ProgressRecord
from tests.swarm.averaging.wire import Wire

pytestmark = pytest.mark.alone  # on a busy machine parts are asked for twice
VALUES = 2**22
ROUNDS = 3  # the first two make it known who is there
FULL, CLIENT = 2.05, 1.02
SCALES = 1 + 2 / 256  # bytes a value of the codec


def counted(full: int, clients: int) -> list[tuple[float, float]]:
    """Bytes a parameter each peer sent and received in the last round, control messages and headers included."""
    count = full + clients
    run, told = manifest_of(VALUES, count), {}
    with ExitStack() as stack:
        wire = Wire()
        stack.callback(wire.close)
        networks = [wire.join() for _ in range(count)]
        for network in networks[full:]:
            network.client = True
        averagers = []
        for network in networks:
            told[network.peer_id] = ProgressRecord(step=0, state="training", role="trainer", version="1")
            averager = RoundAverager(
                network,  # type: ignore[arg-type]
                run,
                layout_of(VALUES),
                span_digests=lambda spans: [bytes(32)] * len(spans),
                root=lambda digests: bytes(32),
                start=Start.genesis(run),
                surroundings=Surroundings(lambda: dict(told), wait_for=count),
            )
            stack.callback(averager.close)
            averagers.append(averager)

        def rounds(index: int) -> list[Averaged]:
            vector = np.random.default_rng(index).standard_normal(VALUES, dtype=np.float32)
            done, pause = [], Event()
            for step in range(ROUNDS):
                while not averagers[index].due(step, 1):
                    pause.wait(0.005)
                outcome = averagers[index].average(step, Contribution(vector, 1.0, 1))
                assert isinstance(outcome, Averaged), outcome
                done.append(outcome)
            return done

        with ThreadPoolExecutor(count) as pool:
            last = [outcomes[-1] for outcomes in pool.map(rounds, range(count))]
    assert all(len([m for m in outcome.roster if m.samples]) == count for outcome in last)
    assert not any(outcome.stats.void_spans or outcome.stats.ballots > 1 for outcome in last)
    return [(each.stats.bytes_sent / VALUES, each.stats.bytes_received / VALUES) for each in last]


def undisturbed(full: int, clients: int) -> list[tuple[float, float]]:
    """The same, of the first of three tries in which nothing was sent twice: a machine that stands still for half a
    second makes a reducer ask again for what is on its way. The last one, where each try had that."""
    for _ in range(3):
        moved = counted(full, clients)
        if sum(sent for sent, _ in moved) <= 1.01 * SCALES * sum(least(full, clients)):
            break
    return moved


def least(full: int, clients: int) -> list[float]:
    """Vectors that each peer sends: its parts to the other reducers, and the mean of its spans to all others."""
    others = full + clients - 1
    return [(full - 1) / full + others / full] * full + [1.0] * clients


@pytest.mark.timeout(240)
@pytest.mark.parametrize("full", [2, 4, 6])
def test_a_full_peer_moves_what_the_formula_says(full: int) -> None:
    moved = undisturbed(full, 0)
    formula = 2 * (full - 1) / full * SCALES
    for sent, received in moved:
        assert 0.9 * formula < sent <= FULL
        assert 0.9 * formula < received <= FULL
    mean = sum(sent for sent, _ in moved) / full
    assert 0.99 * formula < mean <= 1.1 * formula


@pytest.mark.timeout(240)
def test_a_client_mode_peer_gives_and_takes_one_vector() -> None:
    *_, client = undisturbed(3, 1)
    assert SCALES <= client[0] <= CLIENT
    assert SCALES <= client[1] <= CLIENT
