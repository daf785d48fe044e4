"""The log: certified outcomes in order, how far they are applied here, and the other lineages we have heard of.

Lineages that meet are weighed from their last common round: an anchor's vote first, then samples of the peers both had
in their electorate (a stranger cannot mint them), then all samples, then the lower head. The lighter side goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from swarm.averaging.round.certificate import Position, Verify, check_commit
from swarm.averaging.round.messages import Commit
from swarm.averaging.round.policy import Policy

News = Literal["known", "unknown", "extended", "branch", "switched"]


@dataclass(frozen=True)
class Entry:
    """One certified round: the commit and the position after it. The first entry of a log has no commit."""

    position: Position
    commit: Commit | None


class Log:
    """A chain of entries from a trusted start (genesis, or a checkpoint) to the tip; `applied` indexes the chain."""

    def __init__(self, start: Position, policy: Policy) -> None:
        self.policy = policy
        self.chain = [Entry(start, None)]
        self.applied = 0
        self.astray = False  # the shared state is on a lineage that this log has left
        self.index = {start.head: 0}
        self.branches: OrderedDict[bytes, Entry] = OrderedDict()

    @property
    def tip(self) -> Position:
        return self.chain[-1].position

    @property
    def state(self) -> Position:
        """Where the shared state is."""
        return self.chain[self.applied].position

    @property
    def behind(self) -> int:
        return len(self.chain) - 1 - self.applied

    def child(self, head: bytes) -> Commit | None:
        """The commit that follows `head` in this log."""
        index = self.index.get(head)
        return self.chain[index + 1].commit if index is not None and index + 1 < len(self.chain) else None

    def following(self, heads: tuple[bytes, ...], limit: int) -> list[Commit]:
        """The commits after the newest of `heads` that this log has in memory; none where it has none of them."""
        found = [self.index[head] for head in heads if head in self.index]
        start = max(found) + 1 if found else len(self.chain)
        return [entry.commit for entry in self.chain[start : start + limit] if entry.commit is not None]

    def remembers(self, heads: tuple[bytes, ...]) -> bool:
        return any(head in self.index for head in heads)

    def locator(self) -> tuple[bytes, ...]:
        """Heads of this log, newest first, ever sparser: enough for another log to find the last common one.

        Then the ends of other branches, so that a long one is told piece by piece and not its beginning again.
        """
        heads: list[bytes] = []
        index, stride = len(self.chain) - 1, 1
        while index > 0 and len(heads) < 48:
            heads.append(self.chain[index].position.head)
            stride = stride * 2 if len(heads) > 8 else 1
            index -= stride
        inner = {entry.commit.outcome.base for entry in self.branches.values() if entry.commit is not None}
        ends = [head for head in reversed(self.branches) if head not in inner]
        return (*heads, self.chain[0].position.head, *ends[:8])

    def offer(self, commit: Commit, verify: Verify) -> News:
        """Take in a commit from anyone, in any order. Raises CommitError for one that certifies nothing."""
        head, base = commit.outcome.head, commit.outcome.base
        if head in self.index or head in self.branches:
            return "known"
        if base in self.index:
            parent = self.chain[self.index[base]].position
        elif base in self.branches:
            parent = self.branches[base].position
        else:
            return "unknown"
        entry = Entry(check_commit(parent, commit, self.policy, verify), commit)
        if base == self.tip.head:
            self._append(entry)
            return "extended"
        self.branches[head] = entry
        while len(self.branches) > self.policy.branch_commits:
            self.branches.popitem(last=False)
        return "branch" if not self._switch(entry) else "switched"

    def restored(self, head: bytes) -> bool:
        """The shared state now is at `head`; False if that is not in this log."""
        if head not in self.index:
            return False
        self.applied, self.astray = self.index[head], False
        return True

    def trim(self) -> None:
        """Forget the oldest applied rounds."""
        surplus = min(self.applied, len(self.chain) - self.policy.log_rounds)
        if surplus > 0:
            self.chain = [Entry(self.chain[surplus].position, None), *self.chain[surplus + 1 :]]
            self.applied -= surplus
            self.index = {entry.position.head: i for i, entry in enumerate(self.chain)}

    def _append(self, entry: Entry) -> None:
        self.index[entry.position.head] = len(self.chain)
        self.chain.append(entry)

    def _switch(self, entry: Entry) -> bool:
        """Move to the branch that ends in `entry` if it is the heavier one."""
        branch = [entry]
        while branch[0].commit is not None and branch[0].commit.outcome.base not in self.index:
            parent = self.branches.get(branch[0].commit.outcome.base)
            if parent is None:
                return False
            branch.insert(0, parent)
        assert branch[0].commit is not None
        common = self.index[branch[0].commit.outcome.base]
        ours = self.chain[common + 1 :]
        if not heavier(branch, ours, self.chain[common].position, self.policy):
            return False
        for lost in ours:
            del self.index[lost.position.head]
            self.branches[lost.position.head] = lost
        del self.chain[common + 1 :]
        for step in branch:
            self.branches.pop(step.position.head, None)
            self._append(step)
        if self.applied > common:
            self.applied, self.astray = common, True
        return True


def heavier(theirs: list[Entry], ours: list[Entry], common: Position, policy: Policy) -> bool:
    """Is `theirs` the lineage to be on? The same answer, turned round, on the other side."""
    mine, other = weight(ours, common, policy), weight(theirs, common, policy)
    if mine != other:
        return other > mine
    return not ours or theirs[0].position.head < ours[0].position.head


def weight(entries: list[Entry], common: Position, policy: Policy) -> tuple[bool, int, int]:
    anchored, known, total = False, 0, 0
    for entry in entries:
        assert entry.commit is not None
        outcome = entry.commit.outcome
        anchored = anchored or any(vote.message.at.peer in policy.anchors for vote in entry.commit.votes)
        for ready, included in zip(outcome.readys, outcome.included, strict=True):
            if included:
                total += ready.message.samples
                known += ready.message.samples if ready.message.at.peer in common.seats else 0
    return anchored, known, total
