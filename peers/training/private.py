"""Training on private text (`join --data PATH --private`): what it is worth in a round, and what others can learn.

What leaves this machine is: that this peer trains on private text, how many samples and tokens by language it gave, and
its gradients. No text, token, file name, loss or measure of how much text there is. Its weight is capped by the
manifest: nobody can compute such a contribution again, so it may not count for as much as one that everybody can.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swarm.averaging.averager import Averager, Contribution
from swarm.errors import IncompatibleError
from swarm.run.manifest import Manifest
from swarm.run.schema import TrainingSpec

CACHE = "private"  # folder of the tokens, in the peer's own folder and not in the cache that a user's peers share


def require_allowed(manifest: Manifest) -> None:
    """IncompatibleError where the run takes no private text."""
    if manifest.join.private_share == 0:
        raise IncompatibleError("this run takes no contributions of private text; join it without --private")


def told(manifest: Manifest) -> list[str]:
    """For the volunteer, before the question."""
    share = f"{100 * manifest.join.private_share:g} %"
    return [
        "Private    your text stays on this disk, and the run's own text is not used. Others learn: that this peer",
        "           trains on private text, how many samples and tokens by language it gives, and its gradients, which",
        "           single peers see before they are averaged. A gradient can betray pieces of the text it was made",
        "           of, above all of few samples: use no text that must stay secret. What this peer gives weighs at",
        f"           most {share} of a batch.",
    ]


class PrivateWork:
    """`Work` whose contributions weigh no more than the manifest allows, and whose losses nobody is told."""

    def __init__(self, work: Any, manifest: Manifest) -> None:
        self.work, self.share = work, manifest.join.private_share
        self.most = self.share * manifest.training.samples_due(1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.work, name)

    def amend(self, training: TrainingSpec) -> None:
        self.most = self.share * training.samples_due(1)
        self.work.amend(training)

    def contribution(self, step: int, averager: Averager) -> Contribution:
        gift = self.work.contribution(step, averager)
        return replace(gift, weight=min(gift.weight, self.most))
