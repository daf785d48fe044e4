"""The parts of a replay: claim from the log, what was kept, the state it was made from, and the same computed anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from peers.training.course import Course
from peers.training.rerun import MOST_ROUNDS, rerun
from peers.wiring import SENT, accumulator, micro_batch, training_data
from swarm.averaging.live.kept import Sent, kept, read_sent
from swarm.errors import ConfigError, IncompatibleError
from swarm.model.memory import MemoryShortError
from swarm.run.amendment import version_at
from swarm.settings import Settings
from swarm.state.replay import TOLERANCE, Claim, Verdict, claim_of, compare, require_sent
from swarm.trust.identity import Identity


class Audit:
    """run: a peer's folder, with checkpoints and log. sent: the folder of who is audited."""

    def __init__(self, run: Path, sent: Path, settings: Settings, say: Callable[[str], None]) -> None:
        self.folder, self.sent, self.settings, self.say = run, sent, settings, say
        self.course = Course(run)
        self.manifest, self.commits = self.course.manifest, self.course.commits
        if self.manifest.averaging.algorithm != "round":
            raise IncompatibleError("only runs whose rounds are certified can be replayed: others keep no log")

    def verdict(
        self, peer: str | None, step: int | None, tolerance: float | None, *, rounds: int = MOST_ROUNDS
    ) -> Verdict:
        """SwarmErrors as the parts raise them. rounds: at most so many are computed again, in mode "local"."""
        gift = self._gift(step)
        claim = claim_of(self.commits, self._who(peer, gift.step), gift.step, gift.staleness)
        self._require_owner(claim.peer)
        require_sent(claim, gift)
        if self.manifest.training.mode == "gradient":
            vector = self._gradient(claim, gift.step - gift.staleness)
            return compare(claim, gift, vector, self.course.terms, tolerance or TOLERANCE)
        again = rerun(self.course, claim.peer, gift.diary, gift.step, self.settings, self.say, most=rounds)
        allowed = tolerance or (TOLERANCE if again.exact else None)
        verdict = compare(claim, gift, again.vector, self.course.terms, allowed)
        return replace(verdict, rounds=again.rounds, inner_steps=again.steps)

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

    def _require_owner(self, peer: str) -> None:
        """A folder keeps what its own peer gave: that it is not another's proves nothing against anybody."""
        key = self.sent / "identity.pem"
        if key.exists() and (owner := Identity.load(key).peer_id) != peer:
            raise ConfigError(
                f"{self.sent} keeps what {owner} gave; name the folder of {peer} with --sent, or give the run's link "
                "instead of a folder, and that peer is asked for it"
            )

    def _gradient(self, claim: Claim, step: int) -> np.ndarray:
        """The mean gradient over the claimed samples, at the parameters of `step`."""
        state = self.course.state(step)
        version = version_at(self.manifest, self.course.chain, claim.step)
        batches = training_data(version, self.course.tokenizer, self.settings, claim.peer, self.say)
        sums = accumulator(self.manifest, state, self.settings, self.say)
        size = micro_batch(self.manifest, self.settings, self.say, device=sums.device, devices=sums.devices)
        for attempt in count(1):
            sums.reset()
            batches.begin(claim.step, claim.roster, state.samples if version == self.manifest else 0)
            try:
                while (left := claim.samples - sums.samples) > 0:
                    sums.add(batches.next(min(left, size.size)))
                    self.say(f"computing: {sums.samples} of {claim.samples} samples")
                return sums.contribution().vector
            except MemoryShortError as error:
                size.shrink(f"{error} (attempt {attempt})")
        raise AssertionError
