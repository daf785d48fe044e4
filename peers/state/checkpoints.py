"""The checkpoints of a training peer: one every few steps, and the last one, which is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import CheckpointError, ResourceError
from swarm.state.checkpoint import latest, load, save

if TYPE_CHECKING:
    from peers.telling.reporter import Reporter
    from swarm.run.manifest import SignedManifest
    from swarm.state.chronicle import Chronicler
    from swarm.state.shared import SharedState


class Checkpoints:
    """Writes `state` with all that a peer needs to go on from it. A full disk is told and never stops training.

    cursor: where reading is. averager: of the run; with the certified round it says where the state stands in the log.
    """

    def __init__(
        self,
        folder: Path,
        signed: SignedManifest,
        tokenizer: bytes,
        *,
        state: SharedState,
        cursor: Callable[[], Any],
        averager: Any,
        chronicler: Chronicler,
        keep: int,
        reporter: Reporter,
    ) -> None:
        self.folder, self.signed, self.tokenizer, self.keep = folder, signed, tokenizer, keep
        self.state, self.cursor, self.averager, self.reporter = state, cursor, averager, reporter
        self.chronicler = chronicler
        self.certified = signed.manifest.averaging.algorithm == "round"

    def due(self, last_step: int) -> None:
        """One, where the state's step asks for it. That of `last_step` is written by `last`."""
        if self.state.step % self.signed.manifest.training.checkpoint_every == 0 and self.state.step < last_step:
            try:
                self.save()
            except ResourceError as error:
                self._failed(error)

    def save(self) -> Path:
        """ResourceError where the disk does not take it."""
        head, place = self._in_the_log()
        path = save(
            self.folder,
            self.state,
            manifest=self.signed,
            tokenizer=self.tokenizer,
            cursor=self.cursor(),
            keep=self.keep,
            log_head=head,
            extra={"chronicle": self.chronicler.to_dict(), **place},
        )
        if self.certified:
            self._save_residuals(path)
        self.reporter.checkpoint(path)
        return path

    def _save_residuals(self, path: Path) -> None:
        """Without them a restart owes nobody what encoding has lost; the checkpoint is whole."""
        try:
            self.averager.save_residuals(path)
        except OSError as error:
            self.reporter.note(f"{path} is without residuals: {error.strerror}; a restart from it forgets them")

    def last(self, finished: bool) -> Path | None:
        """The one of the end, read back and compared; of a peer that just leaves, the last that the disk could take."""
        try:
            path = self.save()
        except ResourceError as error:
            if finished:
                raise
            self._failed(error)
            return latest(self.folder)
        if finished and load(path).state.digest() != self.state.digest():
            raise CheckpointError(f"{path}: the disk does not hold what was written; run the same command again")
        return path

    def _failed(self, error: ResourceError) -> None:
        self.reporter.checkpoint(None)
        self.reporter.note(f"No checkpoint: {error}")

    def _in_the_log(self) -> tuple[str | None, dict[str, str]]:
        """Where this state stands in the log of rounds: its head, and the position for whoever goes on from it."""
        if not self.certified:
            return None, {}
        from swarm.averaging.live.positions import position_to_bytes

        position = self.averager.position()
        return position.head.hex(), {"position": position_to_bytes(position).hex()}
