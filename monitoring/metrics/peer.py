"""`swarm_*`: one peer, as it tells it itself at its own `/metrics`."""

from __future__ import annotations

from monitoring.metrics.labels import (
    DIRECTIONS,
    ENERGY,
    GIVEN_UP,
    LANGUAGE,
    METHODS,
    MISSED_REASONS,
    PHASES,
    PURPOSES,
    REJECTED,
    ROLES,
    ROUND_RESULTS,
    SECONDS,
    SOURCES,
    STATES,
    VERSIONS,
)
from monitoring.metrics.metric import Metric, rows

PEER_COUNTERS = rows(
    "peer",
    "counter",
    ("steps_applied_total", "steps", "Global steps that this peer applied to its shared state."),
    ("samples_total", "samples", "Samples (sequences) this peer computed a gradient for."),
    ("language_samples_total", "samples", "Samples this peer computed a gradient for, by language.", LANGUAGE),
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
    ("donors_given_up_total", "donors", "Donors of state that were given up, by reason.", {"reason": GIVEN_UP}),
    ("rejected_total", "items", "What other peers sent and this one did not accept, by reason.", {"reason": REJECTED}),
    ("checkpoints_total", "checkpoints", "Checkpoints, by outcome of writing.", {"outcome": ("saved", "failed")}),
    ("cpu_seconds_total", "seconds", "Processor time of this peer and its daemon."),
    (
        "energy_joules_total",
        "joules",
        "Energy since the start, by source and by how it is known (an estimate is a guess).",
        {"source": SOURCES, "method": METHODS},
        ENERGY,
        (),
        False,
        False,
    ),
    ("carbon_grams_total", "grams", "CO2 equivalent of the energy, at the grid intensity the user set."),
)

PEER_GAUGES = rows(
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
    ("download_ratio", "ratio", "Part of the shared state that is here, of the last one downloaded."),
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

PEER_HISTOGRAMS = rows(
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

PEER_METRICS: tuple[Metric, ...] = (*PEER_COUNTERS, *PEER_GAUGES, *PEER_HISTOGRAMS)
