"""The evaluator's turn: every so many steps, one or two peers measure the shared state on held-out text.

In a thread of its own, of low priority, on a copy of the parameters that it lets go of afterwards. Nothing waits for
it: the peer trains and averages meanwhile, and a turn that comes while one is under way is left out.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.data.held_out import HeldOut, evaluators
from swarm.errors import DataError, SwarmError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from swarm.data.tokenizer import Tokenizer
    from swarm.run.manifest import Manifest, SignedManifest
    from swarm.state.shared import SharedState

NICENESS = 10  # of the thread: training goes first
SHARE = 2  # so many copies of the parameters must be free
END_SECONDS = 5.0


@dataclass(frozen=True)
class Validation:
    """bits_per_byte: by language, of the shared state after `step`. text: digest of the windows. seconds: it took."""

    step: int
    text: str
    bits_per_byte: Mapping[str, float]
    seconds: float


class Evaluator:
    """told: called with each result, from the evaluator's thread. resting: true while this peer computes nothing.

    opened: the held-out text of a version of the run, None where it has none here; DataError. version_at: which one
    counts at a step: both evaluators of a step measure on the same text.
    """

    def __init__(
        self,
        signed: SignedManifest,
        tokenizer: Tokenizer,
        opened: Callable[[Manifest], HeldOut | None],
        *,
        version_at: Callable[[int], Manifest],
        peer_id: str,
        device: torch.device,
        told: Callable[[Validation], None],
        say: Callable[[str], None],
        resting: Callable[[], object] = bool,
    ) -> None:
        self.run, self.spec, self.every = signed.digest, signed.manifest.model, signed.manifest.training.validate_every
        self.tokenizer, self.opened, self.version_at = tokenizer, opened, version_at
        self.texts: dict[str, HeldOut | None] = {}  # by digest of the version
        self.peer_id, self.device = peer_id, device
        self.told, self.say, self.resting = told, say, resting
        self.thread: threading.Thread | None = None
        self.closed = threading.Event()

    def consider(self, state: SharedState, roster: Sequence[str]) -> None:
        """After each committed round: measure this state, where it is this peer's turn. Returns at once."""
        if not self.every or state.step % self.every or self.resting():
            return
        busy = self.thread is not None and self.thread.is_alive()
        if busy or self.peer_id not in evaluators(self.run, state.step, roster):
            return
        version = self.version_at(state.step)
        if version.digest in self.texts and self.texts[version.digest] is None:
            return
        if self._lacks_memory(state.parameters.nbytes):
            self.say(
                f"Step {state.step}: it is this peer's turn to measure held-out text, and memory is short: left out."
            )
            return
        copy = state.parameters.copy()  # the state moves on meanwhile
        self.thread = threading.Thread(
            target=self._measure, args=(state.step, copy, version), name="evaluator", daemon=True
        )
        self.thread.start()

    def close(self) -> None:
        self.closed.set()
        if self.thread is not None:
            self.thread.join(END_SECONDS)

    def _lacks_memory(self, size_bytes: int) -> bool:
        from swarm.model.memory import device_free

        return device_free(self.device) < SHARE * size_bytes or device_free() < SHARE * size_bytes

    def _text(self, version: Manifest) -> HeldOut | None:
        if version.digest not in self.texts:
            try:
                self.texts = {version.digest: self.opened(version)}
            except DataError as error:
                self.texts = {version.digest: None}
                self.say(f"Held-out text is not measured by this peer: {error}")
        return self.texts[version.digest]

    def _measure(self, step: int, parameters: np.ndarray, version: Manifest) -> None:
        from swarm.model.memory import MemoryShortError

        with suppress(OSError, AttributeError):  # Linux knows threads by number
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        began = time.monotonic()
        text = self._text(version)
        if text is None:
            return
        try:
            found = self._scores(parameters, text)
        except (SwarmError, MemoryShortError) as error:
            self.say(f"Held-out text was not measured at step {step}: {error}")
            return
        if found is not None:
            self.told(Validation(step, text.digest, found, time.monotonic() - began))

    def _scores(self, parameters: np.ndarray, text: HeldOut) -> dict[str, float] | None:
        """By language; None where this peer leaves meanwhile."""
        from swarm.model.bloom import model_from_vector
        from swarm.model.evaluation import bits_per_byte

        model, scores = model_from_vector(self.spec, parameters, self.device), {}
        for code, windows in text.windows.items():
            value = bits_per_byte(model, windows, self.tokenizer.token_bytes, stop=self.closed.is_set)
            if value is None:
                return None
            scores[code] = value
        return scores
