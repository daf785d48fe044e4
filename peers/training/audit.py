"""The parts of a replay: claim from the log, what was kept, state from a checkpoint, the gradient computed anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from peers.owner.amendments import Amendments
from peers.run_folder import RunFolder
from peers.wiring import SENT, accumulator, initial_state, micro_batch, training_data
from swarm.amendment import version_at
from swarm.averaging.live.kept import Sent, kept, read_sent
from swarm.averaging.live.positions import position_from_bytes
from swarm.averaging.live.terms import terms_of
from swarm.averaging.round.certificate import genesis
from swarm.checkpoint import load, saved
from swarm.errors import CheckpointError, ConfigError, IncompatibleError
from swarm.identity import Identity
from swarm.model.memory import MemoryShortError
from swarm.replay import TOLERANCE, Claim, Verdict, claim_of, compare, read_log, require_sent
from swarm.settings import Settings
from swarm.state import SharedState


class Audit:
    """run: a peer's folder, with checkpoints and log. sent: the folder of who is audited."""

    def __init__(self, run: Path, sent: Path, settings: Settings, say: Callable[[str], None]) -> None:
        self.folder, self.sent, self.settings, self.say = run, sent, settings, say
        self.signed, self.tokenizer = RunFolder(run).manifest(), RunFolder(run).tokenizer()
        self.manifest = self.signed.manifest
        if self.manifest.averaging.algorithm != "round":
            raise IncompatibleError("only runs whose rounds are certified can be replayed: others keep no log")
        if self.manifest.training.mode != "gradient":
            raise IncompatibleError(
                "this run trains in mode local: what a peer gives also depends on its own optimizer, which nobody else "
                "has; only runs of mode gradient can be replayed"
            )
        self.amendments = Amendments(run, self.manifest)
        self.commits = read_log(run / "log" / "log")

    def verdict(self, peer: str | None, step: int | None, tolerance: float | None) -> Verdict:
        """SwarmErrors as the parts raise them."""
        gift = self._gift(step)
        claim = claim_of(self.commits, self._who(peer, gift.step), gift.step, gift.staleness)
        require_sent(claim, gift)
        state = self._state(gift.step - gift.staleness, claim.base)
        vector = self._gradient(claim, state)
        return compare(claim, gift, vector, terms_of(self.manifest, state.layout.size), tolerance or TOLERANCE)

    def _gift(self, step: int | None) -> Sent:
        found = dict(kept(self.sent / SENT))
        if step is None and found:
            step = self._newest(sorted(found, reverse=True))
        if step is None or step not in found:
            there = ", ".join(map(str, sorted(found))) or "none"
            which = "any step" if step is None else f"step {step}"
            raise ConfigError(f"{self.sent} keeps no contribution to {which} (it has: {there}); name another")
        return read_sent(found[step])

    def _newest(self, steps: list[int]) -> int:
        """The last one that the log here has the outcome of: a peer that was stopped may have kept one more."""
        last = self.commits[-1].outcome.round if self.commits else 0
        return next((step for step in steps if step < last), steps[0])

    def _who(self, name: str | None, step: int) -> str:
        """A whole peer id."""
        if name is None:
            return Identity.load(self.sent / "identity.pem").peer_id
        rosters = [commit.outcome.roster for commit in self.commits if commit.outcome.round == step + 1]
        found = [peer for roster in rosters for peer in roster if peer.endswith(name)]
        if len(found) != 1:
            there = ", ".join(peer for roster in rosters for peer in roster) or "nobody, by the log here"
            raise ConfigError(f"--peer {name[:80]!r} names {len(found)} peers of the round of step {step} ({there})")
        return found[0]

    def _state(self, step: int, base: bytes) -> SharedState:
        """The shared state of `step`, which is the one at `base` of the log."""
        if step == 0:
            state, head = initial_state(self.folder, self.manifest), genesis(bytes.fromhex(self.manifest.digest)).head
        else:
            found = {path.name: path for path in saved(self.folder / "checkpoints")}
            path = found.get(f"step-{step:08d}")
            if path is None:
                there = ", ".join(sorted(found)) or "none"
                raise CheckpointError(
                    f"{self.folder} has no checkpoint of step {step} (it has: {there}); name another step"
                )
            checkpoint = load(path, self.manifest.digest)
            state = checkpoint.state
            head = position_from_bytes(bytes.fromhex(str(checkpoint.extra.get("position", "")))).head
        if head != base:
            raise CheckpointError(
                f"the state of step {step} here is of another lineage than the log; name another step"
            )
        return state

    def _gradient(self, claim: Claim, state: SharedState) -> np.ndarray:
        """The mean gradient over the claimed samples, at these parameters."""
        version = version_at(self.manifest, self.amendments.chain, claim.step)
        batches = training_data(version, self.tokenizer, self.settings, claim.peer, self.say)
        sums = accumulator(self.manifest, state, self.settings, self.say)
        size = micro_batch(self.manifest, self.settings, self.say, device=sums.device, devices=sums.devices)
        for attempt in count(1):
            sums.reset()
            batches.begin(claim.step, claim.roster)
            try:
                while (left := claim.samples - sums.samples) > 0:
                    sums.add(batches.next(min(left, size.size)))
                    self.say(f"computing: {sums.samples} of {claim.samples} samples")
                return sums.contribution().vector
            except MemoryShortError as error:
                size.shrink(f"{error} (attempt {attempt})")
        raise AssertionError
