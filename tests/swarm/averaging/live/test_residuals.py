"""What encoding has lost outlives a kill, and only at the head of the log where it was saved: nothing counts twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from swarm.averaging.codec import codec_named
from swarm.averaging.live.averager import RoundAverager
from swarm.averaging.live.positions import position_from_bytes
from swarm.averaging.live.residuals import NAME, Residuals, load_residuals, save_residuals
from swarm.averaging.live.start import Start, Surroundings
from swarm.network.host import Network
from swarm.state.shared import SharedState
from swarm.trust.identity import Identity
from tests.swarm.averaging.live.trainees import manifest

SIZES = (4096, 4096, 100)
HEAD = b"h" * 32


def empty(sizes: tuple[int, ...] = SIZES) -> list[Residuals]:
    return [Residuals(codec_named("int8-block@1"), sizes) for _ in range(2)]


def saved(folder: Path) -> list[list[np.ndarray | None]]:
    """Residuals of a sender that owes two of three spans, and of a reducer that owes one."""
    chance = np.random.default_rng(3)
    some = [chance.integers(0, 2**14, size).astype(np.uint16) for size in SIZES]
    tables: list[list[np.ndarray | None]] = [[some[0], None, some[2]], [None, some[1], None]]
    save_residuals(folder, HEAD, tables)
    return tables


def same(found: list[Residuals], wanted: list[list[np.ndarray | None]]) -> bool:
    pairs = [pair for table, row in zip(found, wanted, strict=True) for pair in zip(table.table, row, strict=True)]
    return all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in pairs)


def none_owed(tables: list[Residuals]) -> bool:
    return all(item is None for table in tables for item in table.table)


def test_what_was_saved_at_a_head_is_there_at_that_head_only(tmp_path: Path) -> None:
    wanted, here, elsewhere = saved(tmp_path), empty(), empty()
    assert load_residuals(tmp_path, HEAD, here)
    assert same(here, wanted)
    assert not load_residuals(tmp_path, b"o" * 32, elsewhere)
    assert none_owed(elsewhere)


@pytest.mark.parametrize("cut", [0, 3, 60, 5000, -1])
def test_half_a_file_is_no_file(tmp_path: Path, cut: int) -> None:
    saved(tmp_path)
    place, tables = tmp_path / NAME, empty()
    place.write_bytes(place.read_bytes()[:cut])
    assert not load_residuals(tmp_path, HEAD, tables)
    assert none_owed(tables)


def test_damage_other_spans_and_no_file_leave_zeros(tmp_path: Path) -> None:
    tables = empty()
    assert not load_residuals(tmp_path, HEAD, tables)
    saved(tmp_path)
    other = empty((4096, 4096, 101))
    assert not load_residuals(tmp_path, HEAD, other)
    data = bytearray((tmp_path / NAME).read_bytes())
    data[-1] ^= 1
    (tmp_path / NAME).write_bytes(data)
    assert not load_residuals(tmp_path, HEAD, tables)
    assert none_owed([*tables, *other])


@contextmanager
def risen(folder: Path) -> Iterator[RoundAverager]:
    """The peer that was killed, going on from its checkpoint."""
    run = manifest()
    state = SharedState.initial(run, np.zeros(SharedState.empty(run, 0, 0).layout.size, np.float32))
    checkpoint = folder / "checkpoint"
    position = position_from_bytes((checkpoint / "position").read_bytes())
    with Network(Identity.load_or_create(folder / "key"), run.digest) as network:
        averager = RoundAverager(
            network,
            run,
            state.layout,
            span_digests=state.span_digests,
            root=state.root,
            start=Start(position, folder / "rounds", checkpoint),
            surroundings=Surroundings(dict),
        )
        try:
            averager.driver.arithmetic.submit(lambda: None).result(10)  # what the replay asked for is done
            yield averager
        finally:
            averager.close()


def killed(folder: Path, rounds: int) -> None:
    command = [sys.executable, "-m", "tests.swarm.averaging.live.owing", str(folder), str(rounds)]
    done = subprocess.run(command, check=False, timeout=100, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.real
@pytest.mark.timeout(180)
@pytest.mark.parametrize("rounds", [0, 1, -1])
def test_a_killed_peer_owes_what_it_saved_unless_a_later_round_has_used_it(tmp_path: Path, rounds: int) -> None:
    killed(tmp_path, rounds)
    with risen(tmp_path) as averager:
        arithmetic, sizes = averager.driver.arithmetic, averager.driver.arithmetic.sent.sizes
        tables, written = [arithmetic.sent, arithmetic.owed], empty(sizes)
        whole = load_residuals(tmp_path / "checkpoint", averager.position().head, written)
        assert whole == (rounds >= 0), "a kill in the middle of the file leaves no residuals"
        assert averager.replayed == max(0, rounds)
        kept = averager.driver.means.disk
        assert kept, "means of rounds that are over"
        assert kept <= averager.driver.core.context.held.keys(), "who has an older state may ask for them"
        if rounds == 0:
            assert same(tables, [table.table for table in written])
            assert not none_owed([arithmetic.sent])
        else:
            assert none_owed(tables), "what a committed round was made from would be added a second time"
