"""Rows of the operator's dashboard: how the model learns, and how the rounds go."""

from __future__ import annotations

from monitoring.dashboards.asking import AMBER, GREEN, RED, RUN, by_percentile, most, of, or_none
from monitoring.dashboards.panels import Panel, Query

LEARNING = (
    by_percentile(
        "Loss",
        "Training loss, nats per token. It falls; a wide gap between the percentiles is a peer that has diverged.",
        "run_loss",
    ),
    Panel(
        "Loss by language",
        "Median, nats per token. One that rises while the others fall is starved, or its data is broken.",
        (Query(most("run_language_loss", "language"), "{{language}}"),),
    ),
    Panel(
        "Bits per byte",
        "Of the training text, from the loss: comparable between languages and tokenizers.",
        (Query(most("run_language_bpb", "language"), "{{language}}"),),
    ),
    Panel(
        "Held-out bits per byte",
        "Of the shared model on text nobody trains on, every validate_every steps, by the peers whose turn it is.",
        (Query(most("run_validation_bpb", "language"), "{{language}}"),),
    ),
    Panel(
        "Step of the last held-out figures",
        "The step of the last measurement. It stands still where no peer whose turn it was has validation text.",
        (Query(most("run_validation_step"), "{{run}}"),),
        unit="locale",
    ),
    Panel(
        "Tokens per second by language",
        "What the trainers read, where their reports are plausible; over five minutes.",
        (Query(f"swarm:run_tokens:rate5m{RUN}", "{{language}}"),),
        unit="suffix: tokens/s",
        stacked=True,
    ),
    Panel(
        "Share of the plan",
        "A language's share of the tokens over half an hour, of what the mixture gives it. Under 25 % is starved.",
        (
            Query(
                f"swarm:run_language_share:ratio_rate30m{RUN} / on (run, language) "
                f"({most('run_language_planned_ratio', 'language')} > 0)",
                "{{language}}",
            ),
        ),
        unit="percentunit",
        kind="bars",
        bounds=(0, 2),
        steps=((0, RED), (0.25, AMBER), (0.7, GREEN)),
    ),
    Panel(
        "Epochs by language",
        "How often a language's text has been read, by the plan. Over 4 it is worn out: data.max_repeats caps it.",
        (Query(most("run_language_epochs", "language"), "{{language}}"),),
    ),
    Panel(
        "Speed",
        "What the trainers report together, and what rounds accepted lately. A wide gap is work thrown away.",
        (
            Query(most("run_samples_per_second"), "reported"),
            Query(f"swarm:run_samples:rate5m{RUN}", "accepted"),
        ),
        unit="suffix: samples/s",
        bounds=(0, None),
    ),
)

ROUNDS = (
    Panel(
        "Rounds by outcome",
        "Per 5 minutes, as each trainer counts its own.",
        (
            Query(
                f"max by (run, outcome) (sum without (reason) (increase(swarm_run_rounds_total{RUN}[5m])))",
                "{{outcome}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Why rounds are missed",
        "Per 5 minutes. What each reason means and what to do: docs/runbooks/rounds-failing.md.",
        (
            Query(
                or_none(f"max by (run, reason) (increase(swarm_run_rounds_total{of(outcome='missed')}[5m]))", "reason"),
                "{{reason}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Failed share against the objective",
        "Both lines of a pair above their mark raise the alert: 5 min and 1 h over 16.8 %, 30 min and 6 h over 7 %.",
        tuple(
            Query(f"swarm:run_rounds_failed:ratio_rate{window}{RUN}", window) for window in ("5m", "30m", "1h", "6h")
        ),
        unit="percentunit",
        bounds=(0, 1),
    ),
    Panel(
        "Steps",
        "Steps per hour, and forks within it.",
        (
            Query(f"max by (run) (increase(swarm_run_steps_total{RUN}[1h]))", "steps"),
            Query(f"max by (run) (increase(swarm_run_forks_total{RUN}[1h]))", "forks"),
        ),
    ),
    Panel(
        "Usual step time",
        "Median of the last steps. It follows the number of trainers.",
        (Query(most("run_step_interval_seconds"), "{{run}}"),),
        unit="s",
    ),
    Panel(
        "Refused reports",
        "By reason, per second. docs/runbooks/rejected-input.md; implausible: docs/runbooks/claims-implausible.md.",
        (Query(or_none(f"swarm:run_rejected:rate5m{RUN}", "reason"), "{{reason}}"),),
        stacked=True,
    ),
)
