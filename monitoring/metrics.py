"""The one table of metrics: every name that a peer, a monitor or a prober may export, and what its labels may say.

Exporters, dashboards, alert rules and `docs/metrics.md` are checked against it. Labels come only from bounded sets: no
peer id, host name, address or anything else that a stranger writes can become one, so the number of series is bounded
by this file. Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters.

    swarm_*           one peer, exported by itself            swarm_run_*      the whole swarm, exported by `monitor`
    swarm_monitor_*   the monitor about itself                swarm_probe_*    what the prober found from outside
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from swarm.records import Reason as RecordReason
from swarm.records import Role, State

Type = Literal["counter", "gauge", "histogram"]
Scope = Literal["peer", "run", "monitor", "probe"]

PREFIX: Mapping[Scope, str] = {
    "peer": "swarm_",
    "run": "swarm_run_",
    "monitor": "swarm_monitor_",
    "probe": "swarm_probe_",
}
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
    "flood",
    OTHER,
)
SOURCES = ("gpu", "cpu", "memory", "machine")
METHODS = ("nvml", "rapl", "estimate")
QUANTILES = ("0.1", "0.5", "0.9")
PROBLEMS = (
    "no_peers",
    "no_trainers",
    "no_seed",
    "stalled",
    "rounds_failing",
    "digests_differ",
    "forked",
    "peers_behind",
    "peers_slow",
    "claims_rejected",
    "peers_lost",
    "language_starved",
    "checkpoint_old",
    "disk_full",
    "clock_wrong",
    "memory_growing",
    "unreachable",
    "directory_failing",
)

Labels = Mapping[str, tuple[str, ...] | str]  # a str: the name of a set in OPEN_SETS


@dataclass(frozen=True)
class Metric:
    """One row. `pairs`, where given, are the only combinations of label values that exist."""

    name: str
    type: Type
    unit: str
    help: str
    scope: Scope
    labels: Labels = field(default_factory=dict)
    pairs: tuple[tuple[str, ...], ...] | None = None
    buckets: tuple[float, ...] = ()
    gpu: bool = False  # exists only where there is a GPU
    from_start: bool = True  # a counter of which every combination exists from the start, at zero

    def known(self, sets: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
        """Every combination of label values; `sets` gives the open ones by label name."""
        if self.pairs is not None:
            return iter(self.pairs)
        values = [sets.get(label, ()) if isinstance(among, str) else among for label, among in self.labels.items()]
        return itertools.product(*values)


def _rows(scope: Scope, type: Type, *rows: tuple) -> Iterator[Metric]:
    for name, unit, text, *rest in rows:
        yield Metric(PREFIX[scope] + name, type, unit, text, scope, *rest)


LANGUAGE: Labels = {"language": RUN_LANGUAGES}
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

PEER_COUNTERS = _rows(
    "peer",
    "counter",
    ("steps_applied_total", "steps", "Global steps that this peer applied to its shared state."),
    ("samples_total", "samples", "Samples (sequences) this peer computed a gradient for."),
    ("contributed_samples_total", "samples", "Samples of this peer that a committed round included."),
    ("tokens_total", "tokens", "Tokens this peer trained on, by language.", LANGUAGE),
    ("step_seconds_total", "seconds", "Time in each phase of the training loop.", {"phase": PHASES}),
    ("data_overlap_total", "samples", "Samples read again within a pass because the roster changed."),
    (
        "rounds_total",
        "rounds",
        "Averaging rounds this peer took part in, by outcome, and why one was missed.",
        {"outcome": ("committed", "missed"), "reason": ("none", *MISSED_REASONS)},
        ROUND_RESULTS,
    ),
    ("ballots_total", "ballots", "Ballots that the rounds took; one each when nothing goes wrong."),
    ("void_spans_total", "spans", "Spans of committed rounds that were void, so that nobody updated them."),
    ("forks_total", "forks", "Times this peer went on as a new lineage because a quorum was gone."),
    (
        "bytes_total",
        "bytes",
        "Bytes on the network, by direction and purpose, as counted where they were sent.",
        {"direction": DIRECTIONS, "purpose": PURPOSES},
    ),
    ("downloads_total", "downloads", "State downloads, by outcome.", {"outcome": ("completed", "failed")}),
    ("rejected_total", "items", "What other peers sent and this one did not accept, by reason.", {"reason": REJECTED}),
    ("checkpoints_total", "checkpoints", "Checkpoints, by outcome of writing.", {"outcome": ("saved", "failed")}),
    ("cpu_seconds_total", "seconds", "Processor time of this peer and its daemon."),
    (
        "energy_joules_total",
        "joules",
        "Energy since the start, by source and by how it is known (an estimate is a guess).",
        {"source": SOURCES, "method": METHODS},
        (("gpu", "nvml"), ("cpu", "rapl"), ("memory", "rapl"), ("machine", "estimate")),
        (),
        False,
        False,
    ),
    ("carbon_grams_total", "grams", "CO2 equivalent of the energy, at the grid intensity the user set."),
)

PEER_GAUGES = _rows(
    "peer",
    "gauge",
    ("build_info", "", "Always 1; the version of this peer.", {"version": VERSIONS}),
    ("start_timestamp_seconds", "seconds", "When this peer started (Unix time)."),
    ("step", "steps", "The swarm's step that this peer has reached."),
    ("planned_steps", "steps", "Steps of the whole run."),
    ("last_step_timestamp_seconds", "seconds", "When this peer last applied a global step (Unix time)."),
    ("loss", "nats per token", "Training loss of this peer's last contribution."),
    ("language_loss", "nats per token", "Training loss of this peer's last contribution, by language.", LANGUAGE),
    ("samples_per_second", "samples per second", "How fast this peer trains, over its last step."),
    ("data_coverage_ratio", "ratio", "Part of each language's sequences seen at least once.", LANGUAGE),
    ("state", "", "1 for the state this peer is in, 0 for the others.", {"state": STATES}),
    ("role", "", "1 for the role of this peer, 0 for the others.", {"role": ROLES}),
    ("round_group_size", "peers", "Peers in the last committed round."),
    ("round_arrival_spread_seconds", "seconds", "From the first to the last peer ready, in the last round."),
    ("live_peers", "peers", "Peers that this one sees alive, itself included, by role.", {"role": ROLES}),
    ("codec_error_ratio", "ratio", "Relative error that 8 bits put on the last contribution."),
    ("codec_cosine", "cosine", "Cosine between the last contribution and what was sent of it."),
    ("residual_norm", "", "Norm of what error feedback carries over to the next round."),
    ("digest_agreement", "", "1 where this peer's shared state is the one of the majority, 0 where it is not."),
    ("clock_skew_seconds", "seconds", "This machine's clock minus the median of the other peers'."),
    ("checkpoint_timestamp_seconds", "seconds", "When this peer last wrote a checkpoint (Unix time)."),
    ("memory_bytes", "bytes", "Resident memory of this peer and its daemon."),
    ("disk_free_bytes", "bytes", "Free space where this peer keeps its checkpoints."),
    ("grid_intensity_grams_per_kilowatt_hour", "g/kWh", "Carbon intensity that the user set; 0 where none is set."),
    ("gpu_memory_bytes", "bytes", "GPU memory, by kind.", {"kind": ("used", "total")}, None, (), True),
    ("gpu_utilization_ratio", "ratio", "Part of the time in which the GPU computed.", {}, None, (), True),
)

PEER_HISTOGRAMS = _rows(
    "peer",
    "histogram",
    ("step_duration_seconds", "seconds", "One turn of the training loop.", {}, None, SECONDS),
    (
        "round_duration_seconds",
        "seconds",
        "One averaging round, by outcome.",
        {"outcome": ("committed", "missed")},
        None,
        SECONDS,
    ),
)

TABLE: tuple[Metric, ...] = (*PEER_COUNTERS, *PEER_GAUGES, *PEER_HISTOGRAMS)
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in TABLE}


def of_scope(scope: Scope) -> tuple[Metric, ...]:
    return tuple(metric for metric in TABLE if metric.scope == scope)
