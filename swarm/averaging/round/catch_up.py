"""Following the log: take in commits from anyone, fetch what they name, apply in order, change lineage if outweighed.

A peer that missed rounds replays them while their means can be had and it is not too far behind; else it asks its
adapter for the state. A peer whose lineage lost returns to the common round and replays the other one.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable

from swarm.averaging.round.certificate import CommitError, Position, differing_state
from swarm.averaging.round.context import Context
from swarm.averaging.round.events import Apply, Diverged, Forked, Missed, Recall, Restore
from swarm.averaging.round.log import Entry, Log
from swarm.averaging.round.member import Member
from swarm.averaging.round.messages import MAX_ITEMS, Ballot, Commit, Fetch, Header
from swarm.averaging.round.pledges import Pledge
from swarm.averaging.round.reducer import Reducer

NOBODY = Ballot(0, "-", 0)
QUESTIONS = 8  # for means, at once


class CatchUp:
    def __init__(self, context: Context, log: Log) -> None:
        self.context, self.log = context, log
        self.open: OrderedDict[bytes, tuple[Member, Reducer]] = OrderedDict()  # base -> roles waiting for its outcome
        self.settled: OrderedDict[bytes, None] = OrderedDict()  # heads whose residuals were settled here
        self.sent: deque[tuple[int, tuple[bytes, ...]]] = deque()  # (round, digests of what I gave), for audits
        self.asked: dict[str, float] = {}  # peer -> when it may be asked for its log again
        self.wanted: dict[str, None] = {}  # peers to ask as soon as that time has come
        self.told: dict[tuple[str, bytes], float] = {}
        self.restoring = False
        self.farthest = context.policy.replay_rounds  # further behind than this: the state instead
        self.fetch_at = math.inf
        self.fetches = 0
        self.sought: set[bytes] = set()  # means of the first round not yet applied that were asked for
        self.pending = 0  # how many of them had not come when we last looked

    # --- the log -----------------------------------------------------------------------------------------------------

    def offer(self, now: float, sender: str, commit: Commit) -> bool:
        """Take in a commit; True if the tip of the log changed."""
        log, context = self.log, self.context
        applied = log.applied
        try:
            news = log.offer(commit, context.verify)
        except CommitError as error:
            context.count(f"commit_{error.reason}")
            return False
        if news == "unknown" or (news != "known" and commit.tip > commit.outcome.round):
            self.ask(now, sender)
        if news == "extended" and commit.outcome.fork:
            context.emit(Forked(commit.outcome.lineage, commit.outcome.round))
        if news == "switched":
            context.count("lineage_left")
            self.abandon()
            if log.astray:
                self.restore(lost=applied - log.applied, download=False)
        if news in ("extended", "switched"):
            self.fetches = 0
            return True
        return False

    def ask(self, now: float, peer: str) -> None:
        """What does your log hold that mine does not? Not too often."""
        if peer == self.context.me.peer:
            return
        if now < self.asked.get(peer, -math.inf):
            self.wanted[peer] = None
            return
        self.wanted.pop(peer, None)
        crowd = 4 * self.context.policy.visitors
        if len(self.asked) >= crowd:
            self.asked = {name: at for name, at in self.asked.items() if at > now}
        if len(self.asked) >= crowd and peer not in self.log.tip.seats:
            self.context.count("crowded")
            return
        self.asked[peer] = now + self.context.policy.fetch_seconds
        header = self.context.header(self.log.tip, NOBODY)
        self.context.send([peer], Fetch(header, heads=self.log.locator()))

    def hear(self, now: float, peer: str, base: bytes) -> None:
        """A peer on a head that this log does not have is asked for its log; one that lags behind is told."""
        if base not in self.log.index:
            self.ask(now, peer)
        elif base != self.log.tip.head:
            self.remind(now, peer, base)

    def remind(self, now: float, peer: str, base: bytes) -> None:
        """Tell a peer that still works on an old round how it ended; not for every message of it."""
        if now >= self.told.get((peer, base), -math.inf):
            self.have_told(now, [peer], base)
            self.tell(peer, (base,))

    def have_told(self, now: float, peers: Iterable[str], base: bytes) -> None:
        """They may not have read it yet; what they said meanwhile needs no answer."""
        self.told = {key: at for key, at in self.told.items() if at > now}
        self.told.update(((peer, base), now + self.context.policy.fetch_seconds / 4) for peer in peers)

    def tell(self, peer: str, heads: tuple[bytes, ...]) -> None:
        """Commits that follow the newest of `heads` that this log knows."""
        me, tip = self.context.me, self.log.tip.round
        if not self.log.remembers(heads):
            self.context.emit(Recall(peer, heads))
        for commit in self.log.following(heads, self.context.policy.commits_a_reply):
            place = commit.outcome
            at = Header(place.run, place.lineage, place.round, place.base, commit.at.ballot, me.peer, me.incarnation)
            self.context.send([peer], Commit(at, commit.outcome, commit.votes, tip))

    # --- the state ---------------------------------------------------------------------------------------------------

    def missing(self) -> list[bytes]:
        """Means of the first round not yet applied that are not here."""
        if not self.log.behind:
            return []
        commit = self.log.chain[self.log.applied + 1].commit
        assert commit is not None
        return [span.digest for span in commit.outcome.spans if not span.void and span.digest not in self.context.held]

    def patience(self, missing: list[bytes]) -> float:
        """Seconds until these are asked for: none, unless they are on their way by themselves or were asked for.

        The last round's means go to its whole roster, and its certificate overtakes them.
        """
        if self.coming():
            return self.context.pause(self.context.policy.fetch_seconds)
        return 0.0 if self.sought.isdisjoint(missing) else self.context.policy.fetch_seconds

    def coming(self) -> bool:
        """Are the bytes that are applied next those of the last round, and this peer in its roster?"""
        if self.log.behind != 1:
            return False
        commit = self.log.chain[self.log.applied + 1].commit
        assert commit is not None
        return self.context.me.peer in commit.outcome.roster

    def gained(self, now: float) -> None:
        """A mean has come. As long as they do, the rest of the last round's is on its way, too."""
        if self.fetch_at < math.inf and self.coming():
            self.fetch_at = max(self.fetch_at, now + self.context.pause(self.context.policy.cut_seconds))

    def advance(self, now: float) -> bool:
        """Apply what can be applied, in order; True if anything was."""
        before = self.log.applied
        while self.log.behind and not self.restoring:
            if self.log.behind > self.farthest:
                self.restore(lost=0, download=True)
            elif missing := self.missing():
                self.fetch_at = min(self.fetch_at, now + self.patience(missing))
                break
            else:
                self.apply(self.log.chain[self.log.applied], self.log.chain[self.log.applied + 1])
                self.fetches = 0
        if not self.log.behind:
            self.fetch_at = math.inf
            self.farthest = self.context.policy.replay_rounds
        return self.log.applied != before

    def apply(self, parent: Entry, entry: Entry) -> None:
        assert entry.commit is not None
        outcome, head = entry.commit.outcome, entry.position.head
        included = self.settle(parent.position, entry)
        self.context.emit(Apply(outcome, head, included))
        self.log.applied += 1
        self.context.release_means(outcome)
        while self.sent and self.sent[0][0] + self.context.policy.audit_rounds <= outcome.round:
            self.context.drop_parts(self.sent.popleft()[1])
        names, old = outcome.roster, self.context.owners
        self.context.owners = tuple(
            names[s.reducer] if not s.void else (old[i] if i < len(old) else "") for i, s in enumerate(outcome.spans)
        )
        self.log.trim()

    def settle(self, base: Position, entry: Entry) -> bool:
        """Decide residuals by a certified outcome, once; was this peer's contribution in it?"""
        assert entry.commit is not None
        outcome, head = entry.commit.outcome, entry.position.head
        member, reducer = self.open.pop(base.head, (None, None))
        if head in self.settled:
            return False
        self.settled[head] = None
        if len(self.settled) > 2 * self.context.policy.log_rounds:
            self.settled.popitem(last=False)
        member = member or Member(self.context, base, Pledge())
        member.settle(outcome)
        reducer = reducer or Reducer(self.context, base, {})
        reducer.settle(outcome)
        differing = differing_state(member.gift.state, outcome) if member.gift is not None else ()
        if differing:
            self.context.emit(Diverged(differing))
        self.finish(member)
        included = member.included(outcome) is not None
        if member.gift is not None and member.gift.digests and not included:
            self.context.emit(Missed("the round was certified without this contribution"))
        return included

    def finish(self, member: Member) -> None:
        """Keep what was given for a while, for audits."""
        if member.gift is not None:
            self.sent.append((member.position.round + 1, member.gift.digests))

    def abandon(self) -> None:
        """Give up what was in flight in a lineage that this log has left."""
        for base in [base for base in self.open if base not in self.log.index]:
            member, reducer = self.open.pop(base)
            member.settle(None)
            reducer.settle(None)
            self.finish(member)
            self.context.emit(Missed("this lineage was outweighed by another"))

    def restore(self, *, lost: int, download: bool) -> None:
        self.restoring = True
        self.context.emit(Restore(self.log.state.head, self.log.tip.head, download, lost))

    def restored(self, now: float, head: bytes) -> None:
        """The adapter has put the state somewhere on this log; rounds it skipped are settled without being applied."""
        before = self.log.applied
        self.restoring = False
        self.farthest = self.context.policy.history_rounds  # there is no newer state: follow while the means are told
        if not self.log.restored(head):
            self.restore(lost=0, download=not self.log.astray)
            return
        for index in range(before, self.log.applied):
            entry = self.log.chain[index + 1]
            assert entry.commit is not None
            self.settle(self.log.chain[index].position, entry)
            self.context.release_means(entry.commit.outcome)  # this peer may have voted for it: its means stay
        self.fetch_at, self.fetches = now, 0

    def tick(self, now: float) -> None:
        for peer in [peer for peer in self.wanted if now >= self.asked.get(peer, 0.0)]:
            self.ask(now, peer)
        if now < self.fetch_at or self.restoring:
            return
        missing = self.missing()
        if not missing:
            self.fetch_at = math.inf
            return
        commit = self.log.chain[self.log.applied + 1].commit
        assert commit is not None
        names = [vote.message.at.peer for vote in commit.votes] + list(commit.outcome.roster)
        names += [*self.log.tip.seats, *self.asked]  # who told the log may keep it for those who are gone
        names = [name for name in dict.fromkeys(names) if name != self.context.me.peer]
        if self.fetches > 3 * max(1, len(names)):  # also alone: bytes from the own disk may be on their way
            self.restore(lost=0, download=True)
            return
        self.fetch_at = now + self.context.policy.fetch_seconds
        pending = self.sought.intersection(missing)
        if 0 < len(pending) < self.pending:  # they come: what is on its way is not asked of others too
            self.pending = len(pending)
            return
        header = self.context.header(self.log.tip, NOBODY)
        questions = min(len(missing), QUESTIONS * MAX_ITEMS) if names else 0
        for turn, start in enumerate(range(0, questions, MAX_ITEMS)):
            asked, to = missing[start : start + MAX_ITEMS], names[(self.fetches + turn) % len(names)]
            self.context.send([to], Fetch(header, digests=tuple(asked)))
            self.sought.update(asked)
        self.sought.intersection_update(missing)
        self.pending = len(self.sought)
        self.fetches += 1

    def wakes(self) -> list[float]:
        return [self.fetch_at, *(self.asked.get(peer, 0.0) for peer in self.wanted)]
