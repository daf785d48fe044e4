"""The operator's dashboard: is the swarm healthy, and why not?

Everything comes from the monitor. What a finished or an empty run shows is told by "What is wrong", the one panel to
look at first.
"""

from __future__ import annotations

from monitoring.dashboards.asking import AMBER, GREEN, RED, RUN, most, number, of
from monitoring.dashboards.operator_machines import MACHINES, WATCHING
from monitoring.dashboards.operator_training import LEARNING, ROUNDS
from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Variable

NOW = (
    Panel(
        "What is wrong",
        "One line per problem that the monitor finds. What to do: docs/runbooks/<problem>.md; who: ?problem=<problem>.",
        (Query(f"{most('run_problem', 'problem')} > 0 or max(swarm_monitor_up{RUN}) * 0", "{{problem}}"),),
        kind="states",
        width=24,
        height=6,
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
    number("Step", "The swarm's certified step.", f"swarm:run_step:max{RUN}"),
    number("Planned steps", "The run ends here.", most("run_planned_steps")),
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
        "Per 5 minutes. Lost fell silent, left said goodbye.",
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
        (Query(f"swarm:run_problem_peers:max{RUN} > 0 or max(swarm_monitor_up{RUN}) * 0", "{{problem}}"),),
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
