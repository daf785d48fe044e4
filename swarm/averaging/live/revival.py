"""Going on after a restart from what is on this peer's own disk: rounds after the checkpoint are replayed, not lost.

As far as their means are here: one that was killed may lack those of its last round. The others tell it the rest; if
there are none, the run goes on from there as a lineage of its own.
"""

from __future__ import annotations

from itertools import takewhile

from swarm.averaging.live.driver import Driver
from swarm.averaging.round.events import Held, Received
from swarm.averaging.round.messages import Commit, Mean


def replay(driver: Driver) -> int:
    """Feed the journal's rounds after the start to the core; how many there were. In the network's loop."""
    core, journal, start = driver.core, driver.journal, driver.core.log.tip
    commits = journal.commits_after(start.head) if start.round == 0 or start.head in journal.places else []
    if commits and commits[0].outcome.base != start.head:
        commits = []
    commits = list(takewhile(lambda commit: all(digest in driver.means for digest in commit.outcome.means), commits))
    recent = journal.commits(len(journal.heads) - core.context.policy.history_rounds)
    driver.means.keep_only({digest for commit in [*recent, *commits] for digest in commit.outcome.means})
    _keep_for_others(driver, [commit for commit in recent if commit.outcome.round <= start.round])
    for commit in commits:
        _replay(driver, commit)
    return len(commits)


def _keep_for_others(driver: Driver, before: list[Commit]) -> None:
    """Means of rounds before the checkpoint: who has an older state asks for them, and perhaps nobody else lives."""
    held = driver.core.context.held
    for commit in before:
        for digest in commit.outcome.means:
            if digest in driver.means:
                held.setdefault(digest, commit.outcome.round)


def _replay(driver: Driver, commit: Commit) -> None:
    context = driver.core.context
    header = commit.at._replace(peer=context.me.peer, incarnation=context.me.incarnation)
    driver.feed(Received(context.me.peer, context.seal(commit).wire))
    for span, result in enumerate(commit.outcome.spans):
        if not result.void:
            mean = context.seal(Mean(header, span, result.digest))
            driver.feed(Received(context.me.peer, mean.wire, Held(result.digest)))
