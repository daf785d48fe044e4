"""Cases for the alert rules: a healthy swarm as series over minutes, and what is changed in it for each alert.

A value is in promtool's notation (`start+change x times`, one sample a minute); None takes the series away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MINUTES = 600


def flat(value: float) -> str:
    return f"{value}x{MINUTES}"


def grows(each_minute: float, start: float = 0) -> str:
    return f"{start}+{each_minute}x{MINUTES}"


def then(before: float, minutes: int, after: float) -> str:
    """`before` for so many minutes, and `after` from then on."""
    return f"{before}x{minutes} {after}x{MINUTES}"


def grows_until(each_minute: float, minutes: int) -> str:
    """A counter or a timestamp that stops."""
    return f"0+{each_minute}x{minutes} {each_minute * minutes}x{MINUTES}"


UP_MONITOR = 'up{job="bloomswarm-monitor", instance="m"}'
UP_PEER = 'up{job="bloomswarm-peer", instance="p"}'


def run(name: str, **labels: str) -> str:
    """A series of the monitor."""
    return _series(f"swarm_{name}", "bloomswarm-monitor", "m", labels)


def peer(name: str, **labels: str) -> str:
    """A series of one scraped peer."""
    return _series(f"swarm_{name}", "bloomswarm-peer", "p", labels)


def _series(name: str, job: str, instance: str, labels: dict[str, str]) -> str:
    every = {"run": "abcd", "job": job, "instance": instance, **labels}
    return name + "{" + ", ".join(f'{label}="{value}"' for label, value in every.items()) + "}"


def role(name: str) -> str:
    return run("run_live_peers", role=name)


def concerned(problem: str) -> str:
    return run("run_problem_peers", problem=problem)


def rounds(outcome: str, reason: str) -> str:
    return run("run_rounds_total", outcome=outcome, reason=reason)


HEALTHY: dict[str, str | None] = {
    UP_MONITOR: flat(1),
    UP_PEER: flat(1),
    run("monitor_up"): flat(1),
    run("monitor_start_timestamp_seconds"): flat(0),
    run("monitor_refresh_timestamp_seconds"): grows(60),
    run("monitor_refreshes_total", outcome="completed"): grows(12),
    run("monitor_refreshes_total", outcome="failed"): flat(0),
    run("monitor_memory_bytes"): flat(3e8),
    run("run_finished"): flat(0),
    role("trainer"): flat(8),
    role("seed"): flat(1),
    role("archive"): flat(1),
    role("monitor"): flat(1),
    run("run_last_step_timestamp_seconds"): grows(60),
    run("run_step_interval_seconds"): flat(60),
    **{run("run_language_starved", language=code): flat(0) for code in ("en", "hi")},
    rounds("committed", "none"): grows(8),
    rounds("missed", "timeout"): flat(0),
    rounds("missed", "leaving"): flat(0),
    run("run_differing_peers"): flat(0),
    run("run_lineages"): flat(1),
    run("run_behind_peers"): flat(0),
    run("run_tokens_total", language="en"): grows(1000),
    run("run_tokens_total", language="hi"): grows(500),
    run("run_tokens_total", language="other"): flat(0),
    run("run_language_planned_ratio", language="en"): flat(0.66),
    run("run_language_planned_ratio", language="hi"): flat(0.34),
    run("run_checkpoint_timestamp_seconds"): grows(60),
    run("run_rejected_total", reason="expired"): flat(0),
    run("probe_up"): flat(1),
    run("probe_peers", result="reachable"): flat(9),
    run("probe_peers", result="unreachable"): flat(1),
    run("probe_peers", result="skipped"): flat(5),
    peer("memory_bytes"): flat(6e8),
    peer("disk_free_bytes"): flat(1e11),
    peer("clock_skew_seconds"): flat(0.1),
    peer("rejected_total", reason="digest"): flat(0),
    peer("checkpoints_total", outcome="failed"): flat(0),
    **{concerned(slug): flat(0) for slug in ("claims-implausible", "peer-slow", "disk-full", "clock-wrong")},
}


@dataclass(frozen=True)
class Case:
    """At `minute`, `alert` has `fires` instances that fire, in the healthy swarm with `changes`."""

    alert: str
    why: str
    fires: int
    minute: int
    changes: dict[str, str | None] = field(default_factory=dict)

    def series(self) -> dict[str, str]:
        return {name: values for name, values in (HEALTHY | self.changes).items() if values is not None}


GONE: dict[str, str | None] = {role(name): then(count, 60, 0) for name, count in (("trainer", 8), ("seed", 1))}
GONE |= {role("archive"): then(1, 60, 0), run("run_last_step_timestamp_seconds"): grows_until(60, 60)}
DEAD: dict[str, str | None] = {name: None for name in HEALTHY if 'job="bloomswarm-monitor"' in name}
STILL: dict[str, str | None] = {run("run_last_step_timestamp_seconds"): grows_until(60, 60)}
FINISHED: dict[str, str | None] = {run("run_finished"): then(0, 60, 1)}

CASES: tuple[Case, ...] = (
    Case("NoPeers", "all are gone", 1, 65, GONE),
    Case("NoPeers", "all are gone because the run has ended", 0, 65, GONE | FINISHED),
    Case("NoPeers", "for a minute only", 0, 61, GONE),
    Case("NoTrainers", "only the seed is left", 1, 70, {role("trainer"): then(8, 60, 0)}),
    Case("NoTrainers", "nobody at all is another alert", 0, 70, GONE),
    Case("NoSeed", "the seed was killed", 1, 65, {role("seed"): then(1, 60, 0)}),
    Case("NoSeed", "the seed was restarted at once", 0, 65, {role("seed"): f"1x60 0x0 1x{MINUTES}"}),
    Case("NoGlobalStep", "steps of a minute, none for twelve", 1, 76, STILL),
    Case("NoGlobalStep", "five minutes are no news", 0, 65, STILL),
    Case("NoGlobalStep", "steps take two hours here", 0, 90, STILL | {run("run_step_interval_seconds"): flat(7200)}),
    Case("NoGlobalStep", "no step was ever seen", 1, 130, STILL | {run("run_step_interval_seconds"): None}),
    Case("NoGlobalStep", "the run has ended", 0, 90, STILL | FINISHED),
    Case("NoGlobalStep", "the monitor is blind and says so itself", 0, 90, STILL | {run("monitor_up"): then(1, 60, 0)}),
    Case("RoundsFailing", "a quarter fails", 2, 400, {rounds("missed", "timeout"): grows(2.7)}),
    Case("RoundsFailing", "a tenth fails: the slow alert only", 1, 400, {rounds("missed", "timeout"): grows(0.9)}),
    Case("RoundsFailing", "one in forty is within the objective", 0, 400, {rounds("missed", "timeout"): grows(0.2)}),
    Case("RoundsFailing", "it was bad and is over", 0, 130, {rounds("missed", "timeout"): grows_until(8, 60)}),
    Case("RoundsFailing", "trainers that leave are no failure", 0, 400, {rounds("missed", "leaving"): grows(8)}),
    Case("DigestsDiffer", "one peer is apart", 1, 65, {run("run_differing_peers"): then(0, 60, 1)}),
    Case("DigestsDiffer", "it repaired itself", 0, 65, {run("run_differing_peers"): f"0x60 1x0 0x{MINUTES}"}),
    Case("Forked", "two lineages", 1, 65, {run("run_lineages"): then(1, 60, 2)}),
    Case("Forked", "an empty swarm has none", 0, 63, {run("run_lineages"): then(1, 60, 0)}),
    Case("PeersFalling", "half of the trainers", 1, 65, {role("trainer"): then(8, 60, 4)}),
    Case("PeersFalling", "one of ten", 0, 63, {role("trainer"): then(8, 60, 7)}),
    Case("PeersFalling", "one of two is a person who went to bed", 0, 63, {role("trainer"): then(2, 60, 1)}),
    Case("PeersBehind", "three of eight", 1, 75, {run("run_behind_peers"): then(0, 60, 3)}),
    Case("PeersBehind", "one of eight", 0, 75, {run("run_behind_peers"): then(0, 60, 1)}),
    Case("LanguageStarved", "Hindi stops", 1, 67, {run("run_language_starved", language="hi"): then(0, 60, 1)}),
    Case("LanguageStarved", "for three minutes", 0, 63, {run("run_language_starved", language="hi"): then(0, 60, 1)}),
    Case("CheckpointOld", "none for two hours", 1, 190, {run("run_checkpoint_timestamp_seconds"): grows_until(60, 60)}),
    Case("CheckpointOld", "none ever", 1, 130, {run("run_checkpoint_timestamp_seconds"): None}),
    Case("CheckpointOld", "none yet, an hour in", 0, 60, {run("run_checkpoint_timestamp_seconds"): None}),
    Case("RejectedInput", "twelve a minute", 1, 70, {run("run_rejected_total", reason="expired"): grows(12)}),
    Case("RejectedInput", "twelve a minute at one peer", 1, 70, {peer("rejected_total", reason="digest"): grows(12)}),
    Case("RejectedInput", "three a minute", 0, 70, {run("run_rejected_total", reason="expired"): grows(3)}),
    Case("ClaimsImplausible", "one liar", 1, 65, {concerned("claims-implausible"): then(0, 60, 1)}),
    Case("ClaimsImplausible", "none", 0, 63),
    Case("PeerSlow", "one for long", 1, 68, {concerned("peer-slow"): then(0, 60, 1)}),
    Case("PeerSlow", "one for a moment", 0, 63, {concerned("peer-slow"): then(0, 60, 1)}),
    Case("DiskFull", "a peer says so", 1, 65, {concerned("disk-full"): then(0, 60, 1)}),
    Case("DiskFull", "half a gigabyte left", 1, 65, {peer("disk_free_bytes"): then(1e11, 60, 5e8)}),
    Case("DiskFull", "a checkpoint failed", 1, 65, {peer("checkpoints_total", outcome="failed"): then(0, 60, 1)}),
    Case("DiskFull", "a hundred gigabytes", 0, 63),
    Case("ClockWrong", "a minute off", 1, 65, {peer("clock_skew_seconds"): then(0.1, 60, -60)}),
    Case("ClockWrong", "the monitor sees one", 1, 65, {concerned("clock-wrong"): then(0, 60, 1)}),
    Case("ClockWrong", "two seconds off", 0, 63, {peer("clock_skew_seconds"): then(0.1, 60, 2)}),
    Case("MemoryGrowing", "3 MB a minute", 1, 400, {peer("memory_bytes"): grows(3e6, 6e8)}),
    Case("MemoryGrowing", "the monitor's own", 1, 400, {run("monitor_memory_bytes"): grows(2e6, 3e8)}),
    Case("MemoryGrowing", "a peak each hour", 0, 400, {peer("memory_bytes"): "6e8x20 2e9x5 " * 20}),
    Case("PeersUnreachable", "half of them", 1, 75, {run("probe_peers", result="unreachable"): then(1, 60, 9)}),
    Case("PeersUnreachable", "one in ten", 0, 75),
    Case("PeerDown", "it was killed", 1, 66, {UP_PEER: then(1, 60, 0)}),
    Case("PeerDown", "it restarts", 0, 66, {UP_PEER: f"1x60 0x2 1x{MINUTES}"}),
    Case("DirectoryFailing", "all fail", 1, 70, {run("monitor_refreshes_total", outcome="failed"): grows(120)}),
    Case("DirectoryFailing", "one in thirteen", 0, 70, {run("monitor_refreshes_total", outcome="failed"): grows(1)}),
    Case("MonitorStale", "it hangs", 1, 65, {run("monitor_refresh_timestamp_seconds"): grows_until(60, 60)}),
    Case("MonitorStale", "it says so itself", 1, 65, {run("monitor_up"): then(1, 60, 0)}),
    Case("MonitorStale", "a late look", 0, 62, {run("monitor_refresh_timestamp_seconds"): grows_until(60, 60)}),
    Case("MonitorDown", "it was killed", 1, 65, DEAD | {UP_MONITOR: then(1, 60, 0)}),
    Case("MonitorDown", "it was never started", 1, 5, DEAD | {UP_MONITOR: None}),
    Case("MonitorDown", "one scrape failed", 0, 63, {UP_MONITOR: f"1x60 0x0 1x{MINUTES}"}),
)
