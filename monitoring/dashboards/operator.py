"""The operator's dashboard: is the swarm healthy, and why not?

Everything comes from the monitor. What a finished or an empty run shows is told by "What is wrong", the one panel to
look at first.
"""

from __future__ import annotations

from monitoring.dashboards.asking import AMBER, GREEN, RED, RUN, most, number, of, or_none
from monitoring.dashboards.operator_machines import MACHINES, WATCHING
from monitoring.dashboards.operator_training import LEARNING, ROUNDS
from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Variable
from monitoring.problems import PROBLEMS


def problems(*, critical: bool) -> str:
    """Problems of these severities, 1 where the monitor finds one."""
    slugs = "|".join(each.slug for each in PROBLEMS if (each.severity == "critical") == critical)
    return f'max by (run, problem) (swarm_run_problem{{run=~"$run", problem=~"{slugs}"}})'


ANY = f"{most('run_problem', 'problem')} > 0"
FINE = f'label_replace(0 * max by (run) (swarm_monitor_up{RUN}), "problem", "nothing is wrong", "", "")'
WRONG = f"2 * ({problems(critical=True)} > 0) or {problems(critical=False)} > 0 or ({FINE} unless on (run) ({ANY}))"

NOW = (
    Panel(
        "What is wrong",
        "One line per problem that the monitor finds; red: look now, amber: today. What to do: "
        "docs/runbooks/<problem>.md. Who: /api/v1/peers?problem=<problem>.",
        (Query(WRONG, "{{problem}}"),),
        kind="states",
        width=24,
        height=6,
        steps=((0, GREEN), (1, AMBER), (2, RED)),
    ),
    number(
        "Since the last step",
        "Far above the usual step time: docs/runbooks/no-global-step.md.",
        f"swarm:run_step_age_seconds:min{RUN}",
        "s",
        (0, GREEN),
        (600, AMBER),
        (3600, RED),
    ),
    Panel(
        "Step",
        "The step that most trainers are at, and the one at which the run ends.",
        (Query(f"swarm:run_step:max{RUN}", "reached"), Query(most("run_planned_steps"), "planned")),
        unit="locale",
        kind="number",
        width=4,
        height=5,
    ),
    number(
        "Tokens per second", "What the trainers report together.", most("run_tokens_per_second"), "suffix: tokens/s"
    ),
    number(
        "Progress",
        "Steps made of the steps planned; at 100 % the run has finished and silence is normal.",
        f"swarm:run_step:max{RUN} / on (run) {most('run_planned_steps')}",
        "percentunit",
    ),
    number("To the next step", "At the present speed.", most("run_next_step_eta_seconds"), "s"),
    number("To the end", "At the present speed; 0 when the run has ended.", most("run_end_eta_seconds"), "s"),
    number(
        "Trainers", "None: docs/runbooks/no-trainers.md.", f"swarm:run_trainers:sum{RUN}", "short", (0, RED), (1, GREEN)
    ),
    number(
        "Seeds",
        "None: nobody can join, see docs/runbooks/no-seed.md.",
        f"swarm:run_live_peers:max{of(role='seed')}",
        "short",
        (0, RED),
        (1, GREEN),
    ),
    number(
        "Rounds that fail",
        "Over the last hour; the objective is under 5 %. docs/runbooks/rounds-failing.md.",
        f"swarm:run_rounds_failed:ratio_rate1h{RUN}",
        "percentunit",
        (0, GREEN),
        (0.05, AMBER),
        (0.168, RED),
    ),
    number(
        "Same model",
        "Part of the comparable peers that hold the majority's bytes. docs/runbooks/digests-differ.md.",
        f"min by (run) (swarm_run_digest_agreement_ratio{RUN})",
        "percentunit",
        (0, RED),
        (1, GREEN),
    ),
    number(
        "Lineages",
        "One is one swarm; more is a fork. docs/runbooks/forked.md.",
        most("run_lineages"),
        "short",
        (0, GREEN),
        (2, RED),
    ),
    number(
        "Since a checkpoint",
        "What would be lost if all went now. docs/runbooks/checkpoint-old.md.",
        f"swarm:run_checkpoint_age_seconds:min{RUN}",
        "s",
        (0, GREEN),
        (3600, AMBER),
        (7200, RED),
    ),
)

PEERS = (
    Panel(
        "Peers by role",
        "Live peers. A fall of a third within half an hour: docs/runbooks/peers-falling.md.",
        (Query(f"swarm:run_live_peers:max{RUN}", "{{role}}"),),
        stacked=True,
        bounds=(0, None),
    ),
    Panel(
        "Peers by state",
        "Many downloading or lagging: docs/runbooks/peers-behind.md.",
        (Query(most("run_state_peers", "state"), "{{state}}"),),
        stacked=True,
        bounds=(0, None),
    ),
    Panel(
        "Peers by version",
        "Relative to the monitor's own version. Trouble with one colour only: that release.",
        (Query(most("run_version_peers", "version"), "{{version}}"),),
        stacked=True,
        bounds=(0, None),
    ),
    Panel(
        "Joins and leaves",
        "Peers per 5 minutes; who went is below the line. Lost fell silent, left said goodbye.",
        (
            Query(f"max by (run) (sum without (role) (increase(swarm_run_joins_total{RUN}[5m])))", "joined"),
            Query(f"-max by (run, departure) (increase(swarm_run_leaves_total{RUN}[5m]))", "{{departure}}"),
        ),
    ),
    Panel(
        "Behind or different",
        "Trainers behind the swarm, and peers that hold other bytes than the majority.",
        (
            Query(most("run_behind_peers"), "behind"),
            Query(most("run_differing_peers"), "different"),
        ),
        bounds=(0, None),
    ),
    Panel(
        "Peers concerned by a problem",
        "How many; the API names them: /api/v1/peers?problem=<problem>.",
        (Query(or_none(f"swarm:run_problem_peers:max{RUN}", "problem"), "{{problem}}"),),
        bounds=(0, None),
    ),
)

OPERATOR = Dashboard(
    uid="bloomswarm-operator",
    title="Bloomswarm: the swarm",
    description="A whole run as its monitor sees it: health, peers, learning, rounds, machines.",
    variables=(Variable("run", "Run", "label_values(swarm_monitor_up, run)"),),
    rows=(
        Row("Now", NOW),
        Row("Peers", PEERS),
        Row("Learning", LEARNING),
        Row("Rounds", ROUNDS),
        Row("Machines", MACHINES),
        Row("Watching", WATCHING),
    ),
)
