"""`/metrics` of a monitor: the picture in the table's `swarm_run_*`, `swarm_monitor_*` and `swarm_probe_*`.

Filled when it is scraped, so that a figure is never older than the picture it is taken from.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from monitoring.api import Watch
from monitoring.machine import Machine
from monitoring.metrics import METHOD_OF, MISSED_REASONS, OTHER, PERCENTILES, REACHED, ROLES, STATES
from monitoring.problems import SLUGS
from monitoring.series import Series, exposition
from monitoring.server import Request, Response, Route
from monitoring.view.digests import differing_peers
from monitoring.view.findings import Finding
from monitoring.view.lineages import lineages
from monitoring.view.robust import percentile
from monitoring.view.swarm import SwarmView
from swarm import __version__


class MonitorExporter:
    def __init__(self, watch: Watch, clock: Callable[[], float] = time.time) -> None:
        self.watch, self.clock, self.machine = watch, clock, Machine()
        facts = watch.view.facts
        versions = (__version__, "older", "newer")
        self.series = Series(
            ("run", "monitor", "probe"), facts.digest, {"language": facts.languages, "version": versions}
        )
        self.series.put("swarm_monitor_build_info", 1, version=__version__)
        self.series.put("swarm_monitor_start_timestamp_seconds", clock())
        self.series.put("swarm_probe_up", 0)

    def routes(self) -> dict[str, Route]:
        return {"/metrics": self._metrics}

    def amended(self) -> None:
        """Another version of the run counts, with other languages perhaps; none is ever taken away."""
        self.series.widen("language", self.watch.view.facts.languages)

    def refreshed(self, completed: bool, seconds: float) -> None:
        """One look at the swarm ended."""
        self.series.add("swarm_monitor_refreshes_total", outcome="completed" if completed else "failed")
        self.series.observe("swarm_monitor_refresh_duration_seconds", seconds)

    def probed(self, results: Mapping[str, str], connect: Iterable[float], ping: Iterable[float]) -> None:
        """The last probe of each live peer: results by peer id, seconds of those that were reached."""
        counts = Counter(results.values())
        for result in REACHED:
            self.series.put("swarm_probe_peers", counts[result], result=result)
        self._percentiles("swarm_probe_connect_seconds", list(connect))
        self._percentiles("swarm_probe_rtt_seconds", list(ping))
        self.series.put("swarm_probe_timestamp_seconds", self.clock())

    def probe(self, result: str, seconds: float) -> None:
        self.series.add("swarm_probe_probes_total", result=result)
        self.series.observe("swarm_probe_duration_seconds", seconds)

    def prober(self, up: bool) -> None:
        if self.series.get("swarm_probe_up") and not up:
            self.series.add("swarm_probe_restarts_total")
        self.series.put("swarm_probe_up", float(up))

    def _metrics(self, request: Request) -> Response:
        self.watch.read(self._fill)
        return Response(*exposition(self.series, request.accept))

    def _fill(self, view: SwarmView, now: float, found: list[Finding]) -> None:
        self._counters(view)
        self._peers(view, now)
        self._progress(view, now)
        self._percentile_rows(view, now)
        self._languages(view)
        self._problems(found)
        self._self(view, now)

    def _counters(self, view: SwarmView) -> None:
        series, counts = self.series, view.counts
        totals: Counter[tuple[str, str]] = Counter()
        for key, count in counts.items():
            match key:
                case ("joined", role):
                    series.total("swarm_run_joins_total", count, role=role)
                case ("gone", departure):
                    series.total("swarm_run_leaves_total", count, departure=departure)
                case ("tokens", language):
                    totals["tokens", language if language in view.facts.planned else OTHER] += count
                case ("outcome", outcome) if outcome != "committed":
                    totals["missed", outcome if outcome in MISSED_REASONS else OTHER] += count
                case ("rejected", reason):
                    totals["rejected", reason] += count
                case ("millijoules", source):
                    series.total("swarm_run_energy_joules_total", count / 1e3, source=source, method=METHOD_OF[source])
        for (what, label), count in totals.items():
            if what == "tokens":
                series.total("swarm_run_tokens_total", count, language=label)
            elif what == "missed":
                series.total("swarm_run_rounds_total", count, outcome="missed", reason=label)
            else:
                series.total("swarm_run_rejected_total", count, reason=label)
        series.total("swarm_run_rounds_total", counts["outcome", "committed"], outcome="committed", reason="none")
        series.total("swarm_run_steps_total", counts["steps",])
        series.total("swarm_run_forks_total", counts["forks",])
        series.total("swarm_run_accepted_samples_total", counts["samples",])
        series.total("swarm_run_carbon_grams_total", counts["micrograms",] / 1e6)

    def _peers(self, view: SwarmView, now: float) -> None:
        series, live, trainers = self.series, view.live(), view.trainers()
        roles, states = Counter(k.record.role for k in live), Counter(k.record.state for k in live)
        for role in ROLES:
            series.put("swarm_run_live_peers", roles[role], role=role)  # type: ignore[index]
        for state in STATES:
            series.put("swarm_run_state_peers", states[state], state=state)  # type: ignore[index]
        versions = Counter(relative(known.record.version) for known in live)
        for version in (__version__, "older", "newer", OTHER):
            series.put("swarm_run_version_peers", versions[version], version=version)
        differing = len(differing_peers(view, now))
        digested = sum(known.record.state_digest is not None for known in trainers)
        series.put("swarm_run_behind_peers", sum(known.behind_since is not None for known in trainers))
        series.put("swarm_run_differing_peers", differing)
        series.put("swarm_run_digest_agreement_ratio", 1 - differing / digested if digested else None)
        series.put("swarm_run_lineages", len(set(lineages(view).values())) or None)
        series.put("swarm_run_directory_records", len(view.checked.records))
        series.put("swarm_monitor_known_peers", len(view.known))

    def _progress(self, view: SwarmView, now: float) -> None:
        put, interval = self.series.put, view.interval()
        put("swarm_run_step", view.step)
        put("swarm_run_planned_steps", view.facts.steps)
        put("swarm_run_last_step_timestamp_seconds", view.step_time)
        put("swarm_run_step_interval_seconds", interval)
        put("swarm_run_finished", float(view.finished))
        left = None if interval is None else max(0.0, interval - (now - view.step_time))
        put("swarm_run_next_step_eta_seconds", 0.0 if view.finished else left)
        put("swarm_run_end_eta_seconds", view.remaining(now))
        speed = view.speed(now)
        put("swarm_run_samples_per_second", speed)
        put("swarm_run_tokens_per_second", None if speed is None else speed * view.facts.sequence_length)
        saved = [k.record.checkpoint_time for k in view.live() if k.record.checkpoint_time]
        put("swarm_run_checkpoint_timestamp_seconds", max((t for t in saved if t <= now + 60), default=None))

    def _percentile_rows(self, view: SwarmView, now: float) -> None:
        trainers = [known.record for known in view.trainers()]
        live = view.live()
        self._percentiles("swarm_run_loss", [record.loss for record in trainers if record.loss is not None])
        self._percentiles("swarm_run_peer_samples_per_second", [] if view.stale(now) else view.speeds(now))
        self._percentiles(
            "swarm_run_memory_bytes", [float(k.record.memory_bytes) for k in live if k.record.memory_bytes]
        )
        self._percentiles("swarm_run_clock_skew_seconds", [known.skew for known in live if known.skew is not None])

    def _percentiles(self, name: str, values: list[float]) -> None:
        for percent in PERCENTILES:
            self.series.put(name, percentile(values, float(percent)), percentile=percent)

    def _languages(self, view: SwarmView) -> None:
        losses, starved = view.language_losses(), view.starved
        measured = view.validations[-1] if view.validations else None
        self.series.put("swarm_run_validation_step", measured.step if measured else None)
        epochs = view.facts.epochs(view.step, len(view.trainers()))
        for code, share in view.facts.planned.items():
            self.series.put("swarm_run_language_epochs", epochs.get(code), language=code)
            loss, density = losses.get(code), view.facts.tokens_per_byte.get(code)
            bits = loss / math.log(2) * density if loss is not None and density else None
            self.series.put("swarm_run_language_loss", loss, language=code)
            self.series.put("swarm_run_language_bpb", bits, language=code)
            held_out = measured.bits_per_byte.get(code) if measured else None
            self.series.put("swarm_run_validation_bpb", held_out, language=code)
            self.series.put("swarm_run_language_planned_ratio", share, language=code)
            self.series.put("swarm_run_language_starved", float(code in starved), language=code)

    def _problems(self, found: list[Finding]) -> None:
        concerned = {finding.problem.slug: len(finding.peers) for finding in found}
        for slug in SLUGS:
            self.series.put("swarm_run_problem", float(slug in concerned), problem=slug)
            self.series.put("swarm_run_problem_peers", concerned.get(slug, 0), problem=slug)

    def _self(self, view: SwarmView, now: float) -> None:
        reading = self.machine.read()
        self.series.put("swarm_monitor_up", float(bool(view.looked) and not view.stale(now)))
        self.series.put("swarm_monitor_refresh_timestamp_seconds", view.looked or None)
        self.series.put("swarm_monitor_memory_bytes", reading.memory_bytes)
        self.series.total("swarm_monitor_cpu_seconds_total", reading.cpu_seconds)


def relative(version: str) -> str:
    """A version as a label: our own, else whether it is older or newer; `other` where it is no version."""
    if version == __version__:
        return __version__
    try:
        theirs, ours = (tuple(int(part) for part in text.split(".")[:3]) for text in (version, __version__))
    except ValueError:
        return OTHER
    return "older" if theirs < ours else "newer"
