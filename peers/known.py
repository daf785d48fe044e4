"""What this version can do: a run that asks for more is refused by name, where it is created and where it is joined."""

from __future__ import annotations

from swarm.averaging.aggregator import aggregator_named
from swarm.averaging.codec import codec_named
from swarm.errors import IncompatibleError
from swarm.run.schema import RunConfig

ALGORITHMS = ("round", "hivemind")


def require_known(run: RunConfig) -> None:
    """IncompatibleError where the run names a codec, an aggregator or an algorithm that this version does not have."""
    codec_named(run.averaging.codec)
    aggregator_named(run.averaging.aggregator)
    if run.averaging.algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise IncompatibleError(f"the run averages by {run.averaging.algorithm}, this version by {known}; upgrade")
