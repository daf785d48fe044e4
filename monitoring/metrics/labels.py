"""What labels may say: bounded sets, and nothing else. What is not in a set is called `other`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from monitoring.problems import SLUGS
from swarm.records import Reason as RecordReason
from swarm.records import Role, State

Labels = Mapping[str, tuple[str, ...] | str]  # a str: the name of a set in OPEN_SETS

OTHER = "other"  # what a label says when its value is not in the set

# Sets that are known only when an exporter starts; it is told them then, and they stay as they are.
RUN_LANGUAGES = "the run's languages"
VERSIONS = "own version, older, newer"
OPEN_SETS = {"language": RUN_LANGUAGES, "version": VERSIONS}

ROLES: tuple[str, ...] = get_args(Role)
STATES: tuple[str, ...] = get_args(State)
DIRECTIONS = ("sent", "received")
PURPOSES = ("averaging", "state", "directory", "blobs", "control", OTHER)
PHASES = ("compute", "wait", "average", "apply")
MISSED_REASONS = (
    "timeout",  # no outcome before the deadline
    "quorum",  # too few votes
    "late",  # the swarm committed without this peer
    "behind",  # the swarm is at a later step
    "host",  # no host answered
    "reducer",  # a reducer was lost
    "network",  # no connection
    "refused",  # not let in: version, invitation, weight
    "invalid",  # what arrived did not pass its checks
    "leaving",  # this peer was on its way out
    "empty",  # nothing was given
    OTHER,
)
ROUND_RESULTS = (("committed", "none"), *(("missed", reason) for reason in MISSED_REASONS))
REJECTED: tuple[str, ...] = (
    *get_args(RecordReason),
    "record",
    "message",
    "frame",
    "digest",
    "not_finite",
    "norm",
    "weight",
    "duplicate",
    "stale",
    "implausible",
    "version_too_old",
    "not_invited",
    "invitation_expired",
    "revoked",
    "flood",
    OTHER,
)
GIVEN_UP = ("digest", "slow", "stalled", "closed", "refused", "unreachable", OTHER)
SOURCES = ("gpu", "cpu", "memory", "machine")
METHODS = ("nvml", "rapl", "estimate")
METHOD_OF = {"gpu": "nvml", "cpu": "rapl", "memory": "rapl", "machine": "estimate"}
ENERGY = tuple(METHOD_OF.items())
PERCENTILES = ("10", "50", "90")  # over peers; `quantile` is a name that Prometheus keeps for summaries
DEPARTURES = ("left", "lost")  # said goodbye, or fell silent
REACHED = ("reachable", "relayed", "unreachable", "skipped")  # skipped: private, loopback, or no address announced
PROBLEMS = SLUGS

LANGUAGE: Labels = {"language": RUN_LANGUAGES}
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
SHORT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
