"""`swarm_run_*`: the whole swarm, as the monitor sees it. What peers claim is capped, and quantiles say the rest.

Every figure is about the run and none about the monitor that exports it, so of two monitors the larger value is taken
(`max by (run)`), never the sum. Counters start at zero with the monitor; `rate` and `increase` are what they are for.
"""

from __future__ import annotations

from monitoring.metrics.labels import (
    DEPARTURES,
    ENERGY,
    LANGUAGE,
    METHODS,
    MISSED_REASONS,
    PERCENTILES,
    PROBLEMS,
    REJECTED,
    ROLES,
    ROUND_RESULTS,
    SOURCES,
    STATES,
    VERSIONS,
    Labels,
)
from monitoring.metrics.metric import Metric, rows

OVER_PEERS: Labels = {"percentile": PERCENTILES}

RUN_COUNTERS = rows(
    "run",
    "counter",
    ("joins_total", "peers", "Peers that appeared, by role.", {"role": ROLES}),
    ("leaves_total", "peers", "Peers that went: left said goodbye, lost fell silent.", {"departure": DEPARTURES}),
    ("steps_total", "steps", "Global steps that the swarm made."),
    (
        "rounds_total",
        "rounds",
        "Rounds as the trainers report them, each trainer for itself, by outcome and reason.",
        {"outcome": ("committed", "missed"), "reason": ("none", *MISSED_REASONS)},
        ROUND_RESULTS,
    ),
    ("forks_total", "forks", "New lineages that the monitor saw begin."),
    ("accepted_samples_total", "samples", "Samples that committed rounds included, as far as claims are plausible."),
    ("tokens_total", "tokens", "Tokens trained on, by language, as far as claims are plausible.", LANGUAGE),
    ("rejected_total", "reports", "Reports of peers that were refused or capped, by reason.", {"reason": REJECTED}),
    (
        "energy_joules_total",
        "joules",
        "Energy that peers report, by source and by how it is known (an estimate is a guess).",
        {"source": SOURCES, "method": METHODS},
        ENERGY,
    ),
    ("carbon_grams_total", "grams", "CO2 equivalent that peers report, at the grid intensity that each set."),
)

RUN_GAUGES = rows(
    "run",
    "gauge",
    ("live_peers", "peers", "Peers alive, by role.", {"role": ROLES}),
    ("state_peers", "peers", "Peers alive, by the state they report.", {"state": STATES}),
    ("version_peers", "peers", "Peers alive, by version relative to the monitor's own.", {"version": VERSIONS}),
    ("behind_peers", "peers", "Trainers more than one step behind the swarm."),
    ("differing_peers", "peers", "Peers whose shared state is not the majority's at the same step."),
    ("digest_agreement_ratio", "ratio", "Part of the comparable peers that hold the majority's shared state."),
    ("lineages", "lineages", "Lineages that live peers are on; 1 is one swarm."),
    ("step", "steps", "The swarm's step: the last that is certified, or the one that most trainers are at."),
    (
        "last_step_timestamp_seconds",
        "seconds",
        "When the swarm last made a step, as seen from here; until one is seen, when the monitor began (Unix time).",
    ),
    ("step_interval_seconds", "seconds", "From one global step to the next, median of the last ones."),
    ("planned_steps", "steps", "Steps of the whole run."),
    ("finished", "", "1 where the run has reached its planned end, 0 where it has not."),
    ("next_step_eta_seconds", "seconds", "Time to the next step at the present speed."),
    ("end_eta_seconds", "seconds", "Time to the end of the run at the present speed; 0 when it has ended."),
    ("samples_per_second", "samples per second", "What the trainers report together, each capped."),
    ("tokens_per_second", "tokens per second", "What the trainers report together, each capped."),
    ("loss", "nats per token", "Training loss that the trainers report: percentiles over peers.", OVER_PEERS),
    ("language_loss", "nats per token", "Training loss by language, median over peers.", LANGUAGE),
    (
        "language_bpb",
        "bits per byte",
        "Training loss as bits per byte of text, by language.",
        LANGUAGE,
    ),
    ("validation_bpb", "bits per byte", "Of held-out text, median over who measured last.", LANGUAGE),
    ("validation_step", "steps", "The step at which held-out text was measured last."),
    ("language_planned_ratio", "ratio", "Share of the tokens that the run's mixture gives each language.", LANGUAGE),
    ("language_epochs", "epochs", "How often each language's text has been read, by the run's plan.", LANGUAGE),
    (
        "language_starved",
        "",
        "1 where the swarm lately read under a quarter of what the mixture gives this language, 0 where it did not.",
        LANGUAGE,
    ),
    ("peer_samples_per_second", "samples per second", "Speed of one trainer: percentiles over peers.", OVER_PEERS),
    ("memory_bytes", "bytes", "Resident memory of one peer: percentiles over peers.", OVER_PEERS),
    ("clock_skew_seconds", "seconds", "A peer's clock minus the monitor's: percentiles over peers.", OVER_PEERS),
    ("checkpoint_timestamp_seconds", "seconds", "The newest checkpoint of any live peer (Unix time)."),
    ("directory_records", "records", "Valid records of this run in the directory at the last look."),
    (
        "problem_peers",
        "peers",
        "Peers that a problem concerns; `?problem=` of the API names them.",
        {"problem": PROBLEMS},
    ),
    ("problem", "", "1 where the monitor finds the problem now, 0 where it does not.", {"problem": PROBLEMS}),
)

RUN_METRICS: tuple[Metric, ...] = (*RUN_COUNTERS, *RUN_GAUGES)
