"""The problems that a swarm can have: one slug names the alert, its runbook, the word in `?problem=` and the label.

The monitor finds them and names the peers concerned, the page and `status` say them in words, the alert rules fire on
them, and `docs/runbooks/<slug>.md` tells what to do. Tests hold the five together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True)
class Problem:
    """title: a sentence for a newcomer. remedy: what to do first. concerned: which peers `?problem=` names."""

    slug: str
    severity: Severity  # critical: somebody should look now; warning: today; info: good to know
    title: str
    remedy: str
    concerned: str  # "" where no peer is to blame

    @property
    def alert(self) -> str:
        """The alert's name: no-global-step -> NoGlobalStep."""
        return "".join(word.capitalize() for word in self.slug.split("-"))

    @property
    def runbook(self) -> str:
        return f"docs/runbooks/{self.slug}.md"


PROBLEMS: tuple[Problem, ...] = (
    Problem(
        "no-peers",
        "critical",
        "Nobody is here: no peer is heard of, and none answers.",
        "Start a seed, or a dead run again from a checkpoint: bloomswarm seed RUN --from CHECKPOINT_DIR.",
        "",
    ),
    Problem(
        "no-trainers",
        "critical",
        "Nobody is training: there are peers, but none that trains.",
        "Join with one machine: bloomswarm join LINK. Look whether the trainers paused, left or were refused.",
        "peers that are paused, leaving or only serve",
    ),
    Problem(
        "no-seed",
        "critical",
        "No seed is alive: who trains goes on, but newcomers cannot join.",
        "Start the seed again: bloomswarm seed RUN. Peers find it by themselves.",
        "",
    ),
    Problem(
        "no-global-step",
        "critical",
        "The swarm has made no step for far longer than its steps take.",
        "Look at the rounds and their reasons first; then at the peers named here.",
        "trainers whose step or samples have not moved since",
    ),
    Problem(
        "rounds-failing",
        "critical",
        "Too many averaging rounds end without an outcome.",
        "See the reasons: timeout is slow links, quorum is peers that vanish, network is a firewall.",
        "trainers that miss most of their rounds",
    ),
    Problem(
        "digests-differ",
        "critical",
        "Peers that should hold the same model do not.",
        "The peers named here fetch what differs by themselves; stop those that stay apart after two rounds.",
        "peers whose digest at their step is not the majority's",
    ),
    Problem(
        "forked",
        "critical",
        "The swarm has split: there is more than one lineage, and only one of them will last.",
        "Look for a network that is cut in two. The lighter side returns by itself when they meet.",
        "peers that are not on the heaviest lineage",
    ),
    Problem(
        "peers-falling",
        "warning",
        "Many peers were lost within a short time.",
        "Ask whether a release, a provider or a network is at fault; see the version and the last state of the lost.",
        "peers that were lost without a word",
    ),
    Problem(
        "peers-behind",
        "warning",
        "Peers stay behind the swarm's step.",
        "Their link or disk is too slow for the state; see `bloomswarm doctor` on their machine.",
        "peers more than one step behind",
    ),
    Problem(
        "peer-slow",
        "info",
        "A peer is much slower than the others and its batches come late.",
        "Something else uses that machine, or it should take smaller micro-batches.",
        "trainers under a quarter of the median speed",
    ),
    Problem(
        "rejected-input",
        "warning",
        "Much of what peers send is refused.",
        "One peer with many: it is broken or hostile; revoke it in an invited run. All peers: compare the versions.",
        "peers whose records were refused",
    ),
    Problem(
        "claims-implausible",
        "warning",
        "A peer claims what cannot be: a loss, a speed or a number of samples far from everybody else's.",
        "Its claims do not count. Watch its contributions; revoke it in an invited run.",
        "peers with claims outside the bounds",
    ),
    Problem(
        "language-starved",
        "warning",
        "A language gets far less text than the run's mixture gives it.",
        "Look which peers lack its data: doctor checks the data of a peer.",
        "trainers that have lately read none of a starved language",
    ),
    Problem(
        "checkpoint-old",
        "warning",
        "No peer has written a checkpoint for a long time.",
        "Look at free disk on the seed and the archive. Until then a crash of all would lose the steps since.",
        "the trainers, where none of them has a young one",
    ),
    Problem(
        "disk-full",
        "warning",
        "A peer has little room left where it keeps its checkpoints.",
        "Free some, or keep fewer checkpoints: keep_checkpoints in its settings.",
        "peers with little room, and those that could not write their last checkpoint",
    ),
    Problem(
        "clock-wrong",
        "warning",
        "A peer's clock is wrong, so that its records look expired or too young.",
        "Switch on time synchronisation on that machine.",
        "peers whose clock is off by more than ten seconds",
    ),
    Problem(
        "memory-growing",
        "warning",
        "A peer's memory keeps growing.",
        "Take `bloomswarm report` there, then restart the peer: it comes back where it was.",
        "peers whose memory has grown by half since it had settled",
    ),
    Problem(
        "peers-unreachable",
        "info",
        "Peers that announce an address cannot be dialled from outside.",
        "Open their port, or let them join with --client. `bloomswarm doctor` tests it there.",
        "peers whose announced addresses did not answer",
    ),
    Problem(
        "directory-failing",
        "warning",
        "The directory (DHT) does not answer the monitor.",
        "Check the monitor's network and that the seeds of its link are alive.",
        "",
    ),
    Problem(
        "monitor-stale",
        "critical",
        "The monitor's picture is old: nothing here can be trusted.",
        "Look at the monitor's log; restart it.",
        "",
    ),
    Problem(
        "monitor-down",
        "critical",
        "The monitor cannot be scraped: the swarm is not watched.",
        "Start it: bloomswarm monitor LINK --port 9465. The swarm does not depend on it.",
        "",
    ),
    Problem(
        "peer-down",
        "info",
        "A peer that Prometheus scrapes directly does not answer.",
        "Look whether it runs: bloomswarm status on its machine.",
        "the machine named by the alert's instance",
    ),
)

BY_SLUG: Mapping[str, Problem] = {problem.slug: problem for problem in PROBLEMS}
SLUGS: tuple[str, ...] = tuple(BY_SLUG)
