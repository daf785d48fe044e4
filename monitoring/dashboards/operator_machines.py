"""Rows of the operator's dashboard: the peers' machines, and the monitor that watches them."""

from __future__ import annotations

from monitoring.dashboards.asking import RATE, RUN, by_percentile, most, slowest
from monitoring.dashboards.panels import Panel, Query

MACHINES = (
    by_percentile(
        "Speed of a trainer",
        "Samples per second. A lowest tenth far below: docs/runbooks/peer-slow.md.",
        "run_peer_samples_per_second",
        "suffix: samples/s",
    ),
    by_percentile(
        "Memory of a peer", "Growth that does not end: docs/runbooks/memory-growing.md.", "run_memory_bytes", "bytes"
    ),
    by_percentile(
        "Clocks",
        "Against the monitor's. Over ten seconds: docs/runbooks/clock-wrong.md.",
        "run_clock_skew_seconds",
        "s",
    ),
    Panel(
        "Power",
        "By source and by how it is known; an estimate is a guess.",
        (Query(f"swarm:run_power_watts:rate5m{RUN}", "{{source}} ({{method}})"),),
        unit="watt",
        stacked=True,
    ),
    Panel(
        "Energy and carbon",
        "What peers reported since the monitor began. Carbon only from peers that set their grid's intensity.",
        (
            Query(f"max by (run) (sum without (source, method) (swarm_run_energy_joules_total{RUN})) / 3.6e6", "kWh"),
            Query(f"{most('run_carbon_grams_total')} / 1000", "kg CO2"),
        ),
        kind="number",
        decimals=2,
    ),
    Panel(
        "Reachable from outside",
        "What the prober found. Skipped: private, loopback, or no address. docs/runbooks/peers-unreachable.md.",
        (Query(most("probe_peers", "result"), "{{result}}"),),
        stacked=True,
    ),
)

WATCHING = (
    by_percentile("Ping", "From the monitor to the reachable peers.", "probe_rtt_seconds", "s"),
    by_percentile("Time to connect", "From the monitor to the reachable peers.", "probe_connect_seconds", "s"),
    Panel(
        "Time of a probe",
        "Seconds of one: dial, identify, ping.",
        (
            *(
                Query(slowest("swarm_probe_duration_seconds", q), legend)
                for q, legend in ((0.5, "median"), (0.9, "slowest tenth begins at"))
            ),
        ),
        unit="s",
    ),
    Panel(
        "Age of the picture",
        "Per monitor. Over two minutes nothing here can be trusted: docs/runbooks/monitor-stale.md.",
        (Query(f"time() - swarm_monitor_refresh_timestamp_seconds{RUN}", "{{instance}}"),),
        unit="s",
        bounds=(0, None),
    ),
    Panel(
        "Looks at the swarm",
        "Per minute by outcome; about 20 where all is well. Failed: docs/runbooks/directory-failing.md.",
        (Query(f"60 * sum by (outcome) (rate(swarm_monitor_refreshes_total{RUN}[{RATE}]))", "{{outcome}}"),),
        stacked=True,
        bounds=(0, None),
    ),
    Panel(
        "Time of a look",
        "To read all records, check and sum them up. Over three seconds the picture is older than it could be.",
        (
            Query(slowest("swarm_monitor_refresh_duration_seconds", 0.5), "median"),
            Query(slowest("swarm_monitor_refresh_duration_seconds", 0.9), "slowest tenth begins at"),
        ),
        unit="s",
    ),
    Panel(
        "The monitor itself",
        "Memory of the monitor, its daemon and its prober.",
        (Query(f"swarm_monitor_memory_bytes{RUN}", "{{instance}}"),),
        unit="bytes",
        bounds=(0, None),
    ),
)
