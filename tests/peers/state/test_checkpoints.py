"""A peer's checkpoints on a disk that becomes full between two of its files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from peers.state.checkpoints import Checkpoints
from swarm.averaging.live.positions import position_to_bytes
from swarm.averaging.live.residuals import NAME, save_residuals
from swarm.averaging.round.certificate import Position
from swarm.state.checkpoint import load, saved
from tests.peers.whole_swarm import Run
from tests.small_disk import small_disk

POSITION = Position(bytes(32), bytes(32), 8, bytes(32), ())


class Owing:
    """An averager whose residuals take so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def position(self) -> Position:
        return POSITION

    def save_residuals(self, folder: Path) -> None:
        save_residuals(folder, POSITION.head, [[np.ones(self.size // 2, np.uint16)]])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.make(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("fits", [True, False])
def test_residuals_that_find_no_room_cost_neither_the_checkpoint_nor_the_training(
    run: Run, tmp_path: Path, fits: bool
) -> None:
    told: list[object] = []
    state = run.state()
    size = 4 * len(state.vectors) * state.layout.size
    with small_disk(tmp_path / "disk", 2 * size + (1 << 20)) as folder:
        checkpoints = Checkpoints(
            folder,
            run.signed,
            run.tokenizer,
            state=state,
            cursor=dict,
            averager=Owing(1 << 10 if fits else 2 * size + (1 << 20)),
            chronicler=SimpleNamespace(to_dict=dict),  # type: ignore[arg-type]
            keep=2,
            reporter=SimpleNamespace(checkpoint=told.append, note=told.append),  # type: ignore[arg-type]
        )
        state.step = run.signed.manifest.training.checkpoint_every
        checkpoints.due(state.step + 1)
        path = checkpoints.last(finished=True)
        assert [each.name for each in saved(folder)] == [f"step-{state.step:08d}"]
        assert path is not None
        assert load(path).state.digest() == state.digest()
        assert load(path).extra["position"] == position_to_bytes(POSITION).hex()
        assert (path / NAME).exists() == fits
        notes = [each for each in told if isinstance(each, str)]
        assert len(notes) == (0 if fits else 2)
        assert all("without residuals: No space left on device" in note for note in notes)
        assert [each for each in told if isinstance(each, Path)] == [path, path]
