"""Filling a folder with what an audit needs, from whoever in the swarm has it: then it is as good as a peer's own.

The log is followed from its beginning and every certificate in it checked; states are those that it certifies; means
and contributions are what it names by digest. So nothing is believed because of who gave it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peers.run_folder import RunFolder, write_atomically
from peers.state.certified import StateFetcher
from peers.state.evidence import GIFTS, LIST_BYTES, LOG, MEANS, PIECE_BYTES, PURPOSE, REQUEST, page_limit
from swarm.averaging.live.door import crypto_of
from swarm.averaging.live.journal import Journal, read_all
from swarm.averaging.live.kept import MAX_HEAD_BYTES, Sent, read_sent
from swarm.averaging.live.positions import CertifiedState, certified_states, position_to_bytes
from swarm.averaging.live.terms import Terms, terms_of
from swarm.averaging.round.certificate import CommitError, Position, genesis
from swarm.averaging.round.context import Context, Self
from swarm.averaging.round.log import Log
from swarm.averaging.round.messages import DIGEST
from swarm.digest import content_digest
from swarm.errors import ConfigError, NetworkError
from swarm.model.layout import Layout
from swarm.state.checkpoint import save
from swarm.state.shared import SharedState

if TYPE_CHECKING:
    from swarm.network.host import Network
    from swarm.run.manifest import SignedManifest

ANSWER_SECONDS = 60.0
BEGINNING = bytes(DIGEST)


class Unwatched:
    """Nobody is told how the download goes."""

    def downloading(self, done: int, total: int, donors: int) -> None: ...

    def gave_up(self, donor: str, reason: str, detail: str) -> None: ...


class Only:
    """To a `StateFetcher`: the one state that is wanted."""

    def __init__(self, terms: Terms, state: CertifiedState, position: Position) -> None:
        self.terms, self.state, self._position = terms, state, position

    def wanted(self) -> list[CertifiedState]:
        return [self.state]

    def oldest(self) -> int:
        """It is not followed from there."""
        return self.state.step

    def position(self) -> Position:
        return self._position


class Gathering:
    """folder: gets the files that a peer's folder has. donors: whom to ask, in order."""

    def __init__(
        self,
        network: Network,
        signed: SignedManifest,
        tokenizer: bytes,
        folder: Path,
        *,
        donors: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self.network, self.signed, self.tokenizer, self.folder = network, signed, tokenizer, folder
        self.donors, self.say = list(donors), say
        self.layout = Layout.of(signed.manifest.model)
        self.terms: Terms = terms_of(signed.manifest, self.layout.size)
        me = Self(network.peer_id, 0, full=False)
        self.context = Context(self.terms.run, me, self.terms.policy, crypto_of(network))
        self.log = Log(genesis(bytes.fromhex(signed.digest)), self.terms.policy)
        RunFolder(folder).write(signed.to_json(), tokenizer)

    def gather(self, peer: str, step: int | None, gifts: Path) -> int:
        """Everything to replay what `peer` gave to `step`, or to the last step there is; which one it is.

        gifts: where contributions go. NetworkError where something cannot be had. ConfigError: no such step.
        """
        found, sent = self._contribution(peer, step, gifts)
        self._follow(found + 1)
        base = found - sent.staleness
        starts = [base, *(turn.step for turn in sent.diary.turns[:1])] if sent.diary is not None else [base]
        first = self._states(min(starts), base)
        self._means(first, base)
        return found

    # --- what was given ----------------------------------------------------------------------------------------------

    def _contribution(self, peer: str, step: int | None, gifts: Path) -> tuple[int, Sent]:
        """From the peer itself: nobody else keeps it."""
        self.say(f"Asking {peer[-8:]} for what it gave ...")
        sizes = self._kept_by(peer)
        if step is None and sizes:
            step = max(sizes)
        if step is None or step not in sizes:
            there = ", ".join(map(str, sorted(sizes))) or "none"
            raise ConfigError(f"{peer} keeps no contribution to that step (it has: {there}); name another")
        if not 0 < sizes[step] <= self.terms.policy.vector_bytes + MAX_HEAD_BYTES + 4:
            raise NetworkError(f"{peer} says that its contribution has {sizes[step]} bytes: that is none of this run")
        data = bytearray()
        while len(data) < sizes[step]:
            length = min(PIECE_BYTES, sizes[step] - len(data))
            piece = self._ask(peer, GIFTS, REQUEST.pack(step, len(data), length), length)
            if not piece:
                raise NetworkError(f"{peer} gave {len(data)} of {sizes[step]} bytes of its contribution; ask again")
            data += piece
        path = gifts / f"step-{step:08d}.sent"
        write_atomically(path, data)
        return step, read_sent(path)

    def _kept_by(self, peer: str) -> dict[int, int]:
        try:
            told = json.loads(bytes(self._ask(peer, GIFTS, b"", LIST_BYTES)))
            sizes = {int(step): size for step, size in told.items()}
            if any(type(size) is not int for size in sizes.values()):
                raise ValueError
        except (ValueError, AttributeError, RecursionError):
            raise NetworkError(f"{peer} gave no list of contributions that can be read; ask another peer") from None
        return sizes

    # --- the log -----------------------------------------------------------------------------------------------------

    def _follow(self, last: int) -> None:
        """The log up to round `last` at least, from whoever has it from the beginning; every certificate is checked."""
        causes: list[str] = []
        for donor in self.donors:
            try:
                while self.log.tip.round < last and self._page(donor):
                    self.say(f"The log of rounds: {self.log.tip.round:,}")
            except (NetworkError, CommitError) as error:
                causes.append(f"{donor[-8:]}: {error}")
            if self.log.tip.round >= last:
                journal = Journal(self.folder / "log" / "log")
                journal.follow(self.log)
                journal.close()
                return
        raise NetworkError(f"nobody gave the log of rounds from its beginning to {last} ({'; '.join(causes[:3])})")

    def _page(self, donor: str) -> bool:
        """The next commits; False where there are none."""
        head = self.log.tip.head if self.log.tip.round else BEGINNING
        data = self._ask(donor, LOG, head, page_limit(self.terms.control_bytes))
        before = self.log.tip.head
        for commit, _ in read_all(io.BytesIO(bytes(data))):
            self.log.offer(commit, self.context.verify)
        return self.log.tip.head != before

    # --- states and means --------------------------------------------------------------------------------------------

    def _states(self, first: int, last: int) -> int:
        """The state of `last`, and those before it down to the one at or before `first`; the step of the earliest."""
        wanted = {each.step: each for each in certified_states(self.log, self.terms) if 0 < each.step <= last}
        if last > 0:
            if last not in wanted:
                raise NetworkError(f"the log does not certify the state of step {last}; name another step")
            self._state(wanted[last])
        for step in sorted((step for step in wanted if step < last), reverse=True):
            if last <= first:
                break
            try:
                self._state(wanted[step])
            except NetworkError:
                break  # too old for everybody
            last = step
        return 0 if first < last <= self.terms.checkpoint_every else last  # the run's beginning needs no donor

    def _state(self, wanted: CertifiedState) -> None:
        self.say(f"The state of step {wanted.step} ...")
        state = SharedState.empty(self.signed.manifest, wanted.step, 0)
        position = self.log.chain[wanted.step].position
        only = Only(self.terms, wanted, position)
        fetcher = StateFetcher(self.network, self.signed.manifest, only, self.folder, watch=Unwatched())
        fetcher.fetch(self.donors, state, lambda: state)
        save(
            self.folder / "checkpoints",
            state,
            manifest=self.signed,
            tokenizer=self.tokenizer,
            cursor={},
            log_head=position.head.hex(),
            extra={"position": position_to_bytes(position).hex()},
            keep=1 << 30,
        )

    def _means(self, first: int, last: int) -> None:
        """Those of the rounds that lead from the state of `first` to that of `last`."""
        for number in range(first + 1, last + 1):
            commit = self.log.chain[number].commit
            assert commit is not None
            self.say(f"The means of round {number} ...")
            for span in commit.outcome.spans:
                if not span.void:
                    self._mean(span.digest)

    def _mean(self, digest: bytes) -> None:
        place = self.folder / "log" / "means" / digest.hex()
        for donor in self.donors if not place.exists() else ():
            try:
                data = self._ask(donor, MEANS, digest, max(self.terms.frame_sizes))
            except NetworkError:
                continue
            if content_digest(data) == digest:
                write_atomically(place, data)
                return
            self.network.reject("digest")

    def _ask(self, peer: str, name: str, request: bytes, limit_bytes: int) -> bytearray:
        return self.network.call(
            peer, name, request, timeout_seconds=ANSWER_SECONDS, limit_bytes=limit_bytes, purpose=PURPOSE
        )
