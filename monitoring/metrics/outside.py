"""`swarm_monitor_*`: the monitor about itself. `swarm_probe_*`: what the prober found by dialling from outside."""

from __future__ import annotations

from monitoring.metrics.labels import PERCENTILES, REACHED, SHORT_SECONDS, VERSIONS
from monitoring.metrics.metric import Metric, rows

MONITOR_METRICS: tuple[Metric, ...] = (
    *rows(
        "monitor",
        "counter",
        (
            "refreshes_total",
            "refreshes",
            "Looks at the swarm, by outcome.",
            {"outcome": ("completed", "failed")},
        ),
        ("cpu_seconds_total", "seconds", "Processor time of the monitor, its daemon and its prober."),
    ),
    *rows(
        "monitor",
        "gauge",
        ("build_info", "", "Always 1; the version of this monitor.", {"version": VERSIONS}),
        ("start_timestamp_seconds", "seconds", "When this monitor started (Unix time)."),
        ("up", "", "1 while the picture is fresh, 0 when looks at the swarm fail or come late."),
        ("refresh_timestamp_seconds", "seconds", "The last look at the swarm that worked (Unix time)."),
        ("memory_bytes", "bytes", "Resident memory of the monitor, its daemon and its prober."),
        ("known_peers", "peers", "Peers that the monitor remembers, the lost ones included; bounded."),
    ),
    *rows(
        "monitor",
        "histogram",
        ("refresh_duration_seconds", "seconds", "One look at the swarm: read, check, sum up.", {}, None, SHORT_SECONDS),
    ),
)

PROBE_METRICS: tuple[Metric, ...] = (
    *rows(
        "probe",
        "counter",
        ("probes_total", "probes", "Peers dialled, by result.", {"result": REACHED}),
        ("restarts_total", "restarts", "Times the prober's process ended by itself and was started again."),
    ),
    *rows(
        "probe",
        "gauge",
        ("up", "", "1 while the prober's process runs, 0 while it does not."),
        ("peers", "peers", "Live peers by the last probe's result.", {"result": REACHED}),
        ("timestamp_seconds", "seconds", "When the prober last answered (Unix time)."),
        (
            "connect_seconds",
            "seconds",
            "Time to connect: percentiles over reachable peers.",
            {"percentile": PERCENTILES},
        ),
        ("rtt_seconds", "seconds", "Ping over the connection: percentiles over peers.", {"percentile": PERCENTILES}),
    ),
    *rows(
        "probe",
        "histogram",
        ("duration_seconds", "seconds", "One probe: dial, identify, ping.", {}, None, SHORT_SECONDS),
    ),
)
