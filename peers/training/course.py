"""The run as a folder has it: states on disk, the means of rounds, and every state that these two lead to."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from peers.owner.amendments import Amendments
from peers.owner.versions import scheduled_rule
from peers.run_folder import RunFolder
from peers.wiring import initial_state
from swarm.averaging.averager import Averaged
from swarm.averaging.encoded_mean import EncodedMean
from swarm.averaging.live.positions import position_from_bytes
from swarm.averaging.live.results import members_of
from swarm.averaging.live.terms import Terms, terms_of
from swarm.averaging.round.certificate import genesis
from swarm.digest import content_digest
from swarm.errors import CheckpointError
from swarm.model.layout import Layout
from swarm.state.checkpoint import load, saved
from swarm.state.diary import Told
from swarm.state.replay import read_log
from swarm.state.shared import SharedState

MEANS = Path("log", "means")


class Course:
    """folder: a peer's, or one that was filled from the network. CheckpointError where there is no log in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signed = RunFolder(folder).manifest()
        self.manifest = self.signed.manifest
        self.tokenizer = RunFolder(folder).tokenizer()
        self.chain = Amendments(folder, self.manifest).chain
        self.commits = read_log(folder / "log" / "log")
        self.rounds = {commit.outcome.round: commit for commit in self.commits}

    @cached_property
    def terms(self) -> Terms:
        return terms_of(self.manifest, Layout.of(self.manifest.model).size)

    @cached_property
    def _states(self) -> dict[int, Path | None]:
        """Where the state of a step lies; None is the one that the run begins with."""
        return {0: None, **{int(path.name[5:]): path for path in saved(self.folder / "checkpoints")}}

    def first_before(self, step: int) -> int | None:
        """The earliest step from which every state up to that of `step` can be had; None where that one cannot."""
        first = step
        while first not in self._states and self._has_round(first):
            first -= 1
        if first not in self._states:
            return None
        reached = lowest = first
        while lowest > 0 and self._has_round(lowest):
            lowest -= 1
            reached = lowest if lowest in self._states else reached
        return reached

    def _has_round(self, number: int) -> bool:
        """Is the outcome of this round here, with all of its means?"""
        commit = self.rounds.get(number)
        if commit is None:
            return False
        return all(span.void or self._place(span.digest).is_file() for span in commit.outcome.spans)

    def state(self, step: int) -> SharedState:
        """The state of `step`, from the nearest one before it that is here."""
        if self.first_before(step) is None:
            there = ", ".join(f"step {number}" for number in sorted(self._states))
            raise CheckpointError(
                f"{self.folder} has neither the state of step {step} nor a way to it (it has: {there}, and not all "
                "means of the rounds since); name another step"
            )
        state = self._nearest(step)
        while state.step < step:
            state.apply(self.outcome(state.step, ""))
        return state

    def _nearest(self, step: int) -> SharedState:
        nearest = max(number for number in self._states if number <= step)
        path = self._states[nearest]
        if path is None:
            state, head = initial_state(self.folder, self.manifest), genesis(bytes.fromhex(self.manifest.digest)).head
        else:
            checkpoint = load(path, self.manifest.digest)
            state = checkpoint.state
            head = position_from_bytes(bytes.fromhex(str(checkpoint.extra.get("position", "")))).head
        following = self.rounds.get(nearest + 1)
        if following is None or following.outcome.base != head:
            raise CheckpointError(
                f"the state of step {nearest} here is of another lineage than the log; name another step"
            )
        if self.chain:
            state.rule = scheduled_rule(self.manifest, self.chain, state.layout.decayed)
        return state

    def outcome(self, step: int, peer: str) -> Averaged:
        """What the round of `step` has done, as it was handed to `peer`. CheckpointError where bytes are damaged."""
        outcome = self.rounds[step + 1].outcome
        frames = [None if span.void else self._mean(span.digest) for span in outcome.spans]
        mean = EncodedMean(self.terms.codec, self.terms.size, self.terms.span_size, frames)
        index = outcome.index(peer)
        return Averaged(step, mean, members_of(outcome), included=index is not None and outcome.included[index])

    def roster(self, step: int) -> tuple[str, ...]:
        """By which the round of `step` reads: that of the round before."""
        return self.rounds[step].outcome.roster if step in self.rounds else ()

    def told(self, peer: str) -> dict[int, Told]:
        """By step: what this peer has signed, and whether it was averaged."""
        found = {}
        for number, commit in self.rounds.items():
            index = commit.outcome.index(peer)
            if index is not None:
                samples = commit.outcome.readys[index].message.samples
                found[number - 1] = Told(samples, commit.outcome.included[index])
        return found

    def _place(self, digest: bytes) -> Path:
        return self.folder / MEANS / digest.hex()

    def _mean(self, digest: bytes) -> bytes:
        data = self._place(digest).read_bytes()
        if content_digest(data) != digest:
            raise CheckpointError(f"{self._place(digest)} is damaged; name another step, or another peer's folder")
        return data
