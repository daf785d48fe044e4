"""The volunteer's dashboard: is my peer training, what does it give, what does it cost me?

Everything comes from peers' own exporters, so it also serves who runs several peers and scrapes them all.
"""

from __future__ import annotations

from monitoring.dashboards.asking import AMBER, GREEN, RATE, RED, or_none
from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Variable


def own(**labels: str) -> str:
    """The label selector of the peers chosen at the top of the dashboard."""
    chosen = ['run=~"$run"', 'instance=~"$peer"', *(f'{name}="{value}"' for name, value in labels.items())]
    return "{" + ", ".join(chosen) + "}"


OWN = own()

NOW = (
    Panel(
        "Step",
        "The swarm's step that this peer has reached, of the steps of the whole run.",
        (Query(f"max(swarm_step{OWN})", "reached"), Query(f"max(swarm_planned_steps{OWN})", "planned")),
        unit="locale",
        kind="number",
        width=5,
        height=5,
    ),
    Panel(
        "Since the last step",
        "Grows without end when the swarm or this peer has stopped: see docs/runbooks/no-global-step.md.",
        (Query(f"time() - max(swarm_last_step_timestamp_seconds{OWN})", "ago"),),
        unit="s",
        kind="number",
        width=5,
        height=5,
        steps=((0, GREEN), (300, AMBER), (900, RED)),
    ),
    Panel(
        "Live peers",
        "Peers that this one sees, itself included, by role. One trainer: it is alone; check the network.",
        (
            Query(f"max(swarm_live_peers{own(role='trainer')})", "trainers"),
            Query(f"sum(max by (role) (swarm_live_peers{OWN}))", "all"),
        ),
        kind="number",
        width=7,
        height=5,
    ),
    Panel(
        "Rounds missed in the last hour",
        "Rounds that ended without an outcome for this peer. A few are normal where peers come and go.",
        (Query(f"sum(increase(swarm_rounds_total{own(outcome='missed')}[1h]))", "missed"),),
        kind="number",
        width=7,
        height=5,
        decimals=0,
        steps=((0, GREEN), (5, AMBER), (30, RED)),
    ),
    Panel(
        "What it is doing",
        "One line per state; the one at 1 is where the peer is. Lagging or downloading for long: a slow link.",
        (Query(f"max by (state) (swarm_state{OWN})", "{{state}}"),),
        kind="states",
        width=24,
        height=8,
    ),
)

LEARNING = (
    Panel(
        "Loss",
        "Training loss in nats per token. It must fall; a jump that stays is a diverged run or a changed data mix.",
        (Query(f"swarm_loss{OWN}", "{{instance}}"),),
    ),
    Panel(
        "Speed",
        "How fast this peer trains. Half of what it was: something else uses the machine.",
        (Query(f"swarm_samples_per_second{OWN}", "{{instance}}"),),
        unit="suffix: samples/s",
        bounds=(0, None),
    ),
    Panel(
        "Tokens per second by language",
        "What this peer trained on. A language at zero while the others run is starved.",
        (Query(f"sum by (language) (rate(swarm_tokens_total{OWN}[{RATE}]))", "{{language}}"),),
        unit="suffix: tokens/s",
        stacked=True,
    ),
    Panel(
        "Where a step's time goes",
        "Part of the time in each phase. Mostly wait or average: the link or the batch is too small for this swarm.",
        (
            Query(
                f"sum by (phase) (rate(swarm_step_seconds_total{OWN}[{RATE}])) / on () group_left () "
                f"sum(rate(swarm_step_seconds_total{OWN}[{RATE}]))",
                "{{phase}}",
            ),
        ),
        unit="percentunit",
        bounds=(0, 1),
        stacked=True,
    ),
    Panel(
        "Given so far",
        "Samples since the start. Those that committed rounds included are what the model owes to this peer.",
        (
            Query(f"sum(swarm_contributed_samples_total{OWN})", "contributed"),
            Query(f"sum(swarm_samples_total{OWN})", "computed"),
        ),
        unit="locale",
    ),
    Panel(
        "Data coverage",
        "Part of each language's sequences that this peer has seen at least once.",
        (Query(f"max by (language) (swarm_data_coverage_ratio{OWN})", "{{language}}"),),
        unit="percentunit",
        kind="bars",
        bounds=(0, 1),
    ),
)

ROUNDS = (
    Panel(
        "Rounds by outcome",
        "Per 5 minutes. Committed ones move the model; missed ones say why: docs/runbooks/rounds-failing.md.",
        (
            Query(f"sum(increase(swarm_rounds_total{own(outcome='committed')}[5m]))", "committed"),
            Query(
                or_none(f"sum by (reason) (increase(swarm_rounds_total{own(outcome='missed')}[5m]))", "reason"),
                "missed: {{reason}}",
            ),
        ),
    ),
    Panel(
        "Seconds per round",
        "Median and worst tenth of the committed rounds.",
        tuple(
            Query(
                f"histogram_quantile({q}, sum by (le) "
                f"(rate(swarm_round_duration_seconds_bucket{own(outcome='committed')}[{RATE}])))",
                legend,
            )
            for q, legend in ((0.5, "median"), (0.9, "slowest tenth begins at"))
        ),
        unit="s",
    ),
    Panel(
        "Group size",
        "Peers in the last committed round, and those of this machine or local network, to which gradients go past the "
        "daemon.",
        (
            Query(f"swarm_round_group_size{OWN}", "{{instance}}"),
            Query(f"swarm_direct_peers{OWN}", "{{instance}}, of this network"),
        ),
        bounds=(0, None),
    ),
    Panel(
        "Bytes per second",
        "Sent is below the line. Averaging should be nearly all of it.",
        (
            Query(f"sum by (purpose) (rate(swarm_bytes_total{own(direction='received')}[{RATE}]))", "{{purpose}} in"),
            Query(f"-sum by (purpose) (rate(swarm_bytes_total{own(direction='sent')}[{RATE}]))", "{{purpose}} out"),
        ),
        unit="Bps",
    ),
    Panel(
        "Error of the 8-bit codec",
        "Relative error of what was sent. About 0.01 is normal; above 0.03 the gradients are damaged. hivemind's own "
        "averaging does not tell it.",
        (Query(f"swarm_codec_error_ratio{OWN}", "{{instance}}"),),
        unit="percentunit",
        bounds=(0, None),
    ),
    Panel(
        "Rejected",
        "What other peers sent and this one refused, per 5 minutes and by reason: docs/runbooks/rejected-input.md.",
        (Query(or_none(f"sum by (reason) (increase(swarm_rejected_total{OWN}[5m]))", "reason"), "{{reason}}"),),
        stacked=True,
    ),
)

MACHINE = (
    Panel(
        "Memory",
        "Resident memory of peer and daemon. It is flat after the first minutes; growth is a bug to report.",
        (Query(f"swarm_memory_bytes{OWN}", "{{instance}}"),),
        unit="bytes",
        bounds=(0, None),
    ),
    Panel(
        "Processor",
        "Of peer and daemon: 2 is two cores busy.",
        (Query(f"sum by (instance) (rate(swarm_cpu_seconds_total{OWN}[{RATE}]))", "{{instance}}"),),
        unit="suffix: cores",
        bounds=(0, None),
    ),
    Panel(
        "Free disk",
        "Where checkpoints go. Below a few of them, the next one fails: docs/runbooks/disk-full.md.",
        (Query(f"swarm_disk_free_bytes{OWN}", "{{instance}}"),),
        unit="bytes",
        bounds=(0, None),
    ),
    Panel(
        "Power",
        "By source and by how it is known; an estimate is a guess. nvml and rapl are of the whole GPU and processor.",
        (
            Query(
                f"sum by (instance, source, method) (rate(swarm_energy_joules_total{OWN}[{RATE}]))",
                "{{instance}} {{source}} ({{method}})",
            ),
        ),
        unit="watt",
        stacked=True,
    ),
    Panel(
        "Energy and carbon",
        "Since the start. Carbon is zero until you set grid_grams_per_kwh.",
        (
            Query(f"sum(swarm_energy_joules_total{OWN}) / 3.6e6", "kWh"),
            Query(f"sum(swarm_carbon_grams_total{OWN}) / 1000", "kg CO2"),
        ),
        kind="number",
        decimals=2,
    ),
    Panel(
        "GPU",
        "Part of the time in which it computed, and part of its memory in use. Only where there is one.",
        (
            Query(f"swarm_gpu_utilization_ratio{OWN}", "{{instance}} use"),
            Query(
                f"swarm_gpu_memory_bytes{own(kind='used')} / ignoring (kind) swarm_gpu_memory_bytes{own(kind='total')}",
                "{{instance}} memory",
            ),
        ),
        unit="percentunit",
        bounds=(0, 1),
    ),
)

VOLUNTEER = Dashboard(
    uid="bloomswarm-volunteer",
    title="Bloomswarm: my peer",
    description="One peer, or all peers of one machine: training, rounds, network, machine.",
    variables=(
        Variable("run", "Run", "label_values(swarm_step, run)"),
        Variable("peer", "Peer", 'label_values(swarm_step{run=~"$run"}, instance)'),
    ),
    rows=(Row("Now", NOW), Row("Learning", LEARNING), Row("Rounds and network", ROUNDS), Row("Machine", MACHINE)),
)
