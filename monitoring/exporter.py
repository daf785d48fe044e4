"""One peer's metrics, on loopback: the trainer tells what happened, Prometheus and a browser ask for it.

Telling is cheap (a dictionary under a lock; see benchmarks/monitoring.py for the share of a step), never waits for a
scrape, and never raises for a value: a peer must not stop training because of what it reports.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from monitoring.instruments import Instruments
from monitoring.metrics import MISSED_REASONS, OTHER, PHASES
from monitoring.series import Series, exposition
from monitoring.server import Request, Response, Route, Server, json_response
from swarm import __version__

STALLED_SECONDS = 900.0  # without a step, at the least, before a training peer calls itself stalled
STALLED_STEPS = 20  # or this many times its mean step
RESTING = {"alone", "waiting", "paused", "finished", "leaving", "serving", "downloading"}
IDLE = {"assembling", "waiting", "paused", "finished", "leaving", "serving", "downloading"}  # no sample is computed


@dataclass(frozen=True)
class Text:
    """What a step was made of in one language. loss: mean over its samples, where the peer knows it."""

    samples: int
    tokens: int
    loss: float | None = None


class PeerExporter:
    """`/metrics` and `/health` of one peer. run: the manifest's digest. languages: the run's, for the label."""

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        run: str = "",
        role: str = "trainer",
        languages: tuple[str, ...] = (),
        planned_steps: int | None = None,
        folder: Path | None = None,
        pages: Mapping[str, Route] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.series = Series(("peer",), run, {"language": languages, "version": (__version__,)})
        self.clock, self.instruments = clock, Instruments(self.series, folder)
        self.current_state, self.detail = "assembling", ""
        self.before_scrape: Callable[[], object] = lambda: None  # exports what changes without a step
        self._counted_elsewhere: set[tuple[str, str]] = set()
        self._turn = (clock(), 0, 0.0)  # when the last turn of the loop ended, its samples, its seconds
        self.server = Server({**(pages or {}), **self.routes()}, port, host)
        self.series.put("swarm_build_info", 1, version=__version__)
        self.series.put("swarm_start_timestamp_seconds", clock())
        self.series.put("swarm_planned_steps", planned_steps)
        self.series.one_of("swarm_role", role)
        self.series.one_of("swarm_state", self.current_state)
        self.live_peers({})

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> int:
        """Begin to serve; returns the port. ResourceError where it is taken."""
        return self.server.start()

    def close(self) -> None:
        self.server.close()

    def __enter__(self) -> PeerExporter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def routes(self) -> dict[str, Route]:
        return {"/metrics": self._metrics, "/health": self._health}

    def step(
        self,
        step: int,
        loss: float | None,
        samples: int,
        *,
        text: Mapping[str, Text],
        seconds: Mapping[str, float],
    ) -> None:
        """One turn of the loop ended at `step`. text: by language. seconds: by phase."""
        took = math.fsum(seconds.values())
        before = self.series.get("swarm_step") or 0
        self.series.put("swarm_step", step)
        self.series.put("swarm_loss", loss)
        if loss is None:  # nothing was computed: what is known of the languages is of long ago
            for (language,) in self.series.by_label("swarm_language_loss"):
                self.series.put("swarm_language_loss", None, language=language)
        self.series.add("swarm_samples_total", samples)
        if step > before:
            self.series.add("swarm_steps_applied_total")
            self.series.put("swarm_last_step_timestamp_seconds", self.clock())
        for language, read in text.items():
            self.series.add("swarm_tokens_total", read.tokens, language=language)
            self.series.add("swarm_language_samples_total", read.samples, language=language)
            if read.loss is not None:
                self.series.put("swarm_language_loss", read.loss, language=language)
        for phase in PHASES:
            self.series.add("swarm_step_seconds_total", max(seconds.get(phase, 0.0), 0.0), phase=phase)
        self.series.observe("swarm_step_duration_seconds", took)
        self._turn = self.clock(), samples, took
        self._speed()
        self.instruments.read_meter()

    def waits_at(self, step: int) -> None:
        """The step that this peer is at, as long as it has not made one itself."""
        if not self.series.count("swarm_step_duration_seconds"):
            self.series.put("swarm_step", step)

    def _speed(self) -> None:
        """Over the last turn, or over the time since where that is longer: a peer that hangs slows down to nothing."""
        ended, samples, took = self._turn
        seconds = max(took, self.clock() - ended)
        resting = self.current_state in IDLE
        self.series.put("swarm_samples_per_second", samples / seconds if seconds > 0 and not resting else 0.0)

    def round(
        self,
        outcome: str,
        reason: str = "none",
        *,
        seconds: float = 0.0,
        group_size: int = 0,
        samples: int = 0,
        bytes_sent: int = 0,
        bytes_received: int = 0,
        codec_error: float | None = None,
        codec_cosine: float | None = None,
        ballots: int = 1,
        void_spans: int = 0,
    ) -> None:
        """One averaging round ended: "committed" or "missed" with its reason. samples: ours that it included."""
        committed = outcome == "committed"
        why = "none" if committed else missed_reason(reason)
        self.series.add("swarm_rounds_total", outcome="committed" if committed else "missed", reason=why)
        self.series.observe("swarm_round_duration_seconds", seconds, outcome="committed" if committed else "missed")
        self.series.add("swarm_ballots_total", ballots)
        self.series.add("swarm_void_spans_total", void_spans)
        if committed:
            self.series.put("swarm_round_group_size", group_size)
            self.series.add("swarm_contributed_samples_total", samples)
        if codec_error is not None:
            self.series.put("swarm_codec_error_ratio", codec_error)
        if codec_cosine is not None:
            self.series.put("swarm_codec_cosine", codec_cosine)
        for direction, count in (("sent", bytes_sent), ("received", bytes_received)):
            if (direction, "averaging") not in self._counted_elsewhere:
                self.series.add("swarm_bytes_total", count, direction=direction, purpose="averaging")

    def validation(self, bits_per_byte: Mapping[str, float], step: int) -> None:
        """This peer has measured the shared state of `step` on held-out text. By language."""
        self.series.put("swarm_validation_step", step)
        for language, bits in bits_per_byte.items():
            self.series.put("swarm_validation_bpb", bits, language=language)

    def bytes_total(self, direction: str, purpose: str, total: float) -> None:
        """The network's own count so far. Once given for averaging, what rounds report is not added to it."""
        self._counted_elsewhere.add((direction, purpose))
        self.series.total("swarm_bytes_total", total, direction=direction, purpose=purpose)

    def live_peers(self, by_role: Mapping[str, int]) -> None:
        for role in self.series.metric("swarm_live_peers").labels["role"]:
            self.series.put("swarm_live_peers", by_role.get(role, 0), role=role)

    def direct_peers(self, count: int) -> None:
        """Peers to which gradients go past the daemon."""
        self.series.put("swarm_direct_peers", count)

    def rejected(self, reason: str, count: int = 1) -> None:
        """Something that another peer sent was not accepted."""
        self.series.add("swarm_rejected_total", count, reason=reason)

    def state(self, name: str) -> None:
        self.current_state, self.detail = name, ""
        self._speed()
        self.series.one_of("swarm_state", name)

    def coverage(self, by_language: Mapping[str, float], overlap: int = 0) -> None:
        """Distinct samples seen / sequences, by language, and samples read twice so far."""
        for language, ratio in by_language.items():
            self.series.put("swarm_data_coverage_ratio", ratio, language=language)
        self.series.total("swarm_data_overlap_total", overlap)

    def forked(self) -> None:
        self.series.add("swarm_forks_total")

    def download(self, completed: bool) -> None:
        """A state download ended."""
        self.series.add("swarm_downloads_total", outcome="completed" if completed else "failed")

    def downloading(self, done: int, total: int, donors: int) -> None:
        """Bytes of the state that are here, of how many, and from how many peers the rest comes."""
        ratio = done / max(total, 1)
        self.series.put("swarm_download_ratio", ratio)
        self.detail = f"{100 * ratio:.0f} % from {donors} donor{'s' if donors != 1 else ''}"

    def gave_up(self, reason: str) -> None:
        """A donor of state lied, refused, stalled, was slow or went away."""
        self.series.add("swarm_donors_given_up_total", reason=reason)

    def checkpoint(self, saved: bool) -> None:
        self.series.add("swarm_checkpoints_total", outcome="saved" if saved else "failed")
        if saved:
            self.series.put("swarm_checkpoint_timestamp_seconds", self.clock())

    def agreement(self, agrees: bool | None) -> None:
        """Whether this peer's shared state is the majority's; None while unknown."""
        self.series.put("swarm_digest_agreement", None if agrees is None else float(agrees))

    def arrival_spread(self, seconds: float | None) -> None:
        self.series.put("swarm_round_arrival_spread_seconds", seconds)

    def clock_skew(self, seconds: float | None) -> None:
        self.series.put("swarm_clock_skew_seconds", seconds)

    def residual_norm(self, norm: float) -> None:
        self.series.put("swarm_residual_norm", norm)

    def health(self) -> tuple[dict[str, object], bool]:
        """What `/health` says, and whether it is good news."""
        since = self.series.get("swarm_last_step_timestamp_seconds")
        age = None if since is None else max(self.clock() - since, 0.0)
        turns = self.series.count("swarm_step_duration_seconds")
        mean = math.fsum(self.series.by_label("swarm_step_seconds_total").values()) / turns if turns else 0.0
        stalled = age is not None and age > max(STALLED_SECONDS, STALLED_STEPS * mean)
        stalled = stalled and self.current_state not in RESTING
        return {
            "status": "stalled" if stalled else "ok",
            "state": self.current_state,
            "detail": self.detail,
            "clock_skew_seconds": self.series.get("swarm_clock_skew_seconds"),
            "step": int(self.series.get("swarm_step") or 0),
            "seconds_since_step": None if age is None else round(age, 1),
            "version": __version__,
            "run": self.series.run,
        }, not stalled

    def _health(self, request: Request) -> Response:
        value, good = self.health()
        return json_response(value, 200 if good else 503)

    def _metrics(self, request: Request) -> Response:
        self.before_scrape()
        self.measure()
        return Response(*exposition(self.series, request.accept))

    def measure(self) -> None:
        """Read what is read and not told: memory, processor, disk."""
        self._speed()
        self.instruments.measure()


def missed_reason(text: str) -> str:
    """The label for a `Missed.reason`: the word before its colon, where it is one that the table knows."""
    word = text.partition(":")[0].strip().lower().replace(" ", "_")
    return word if word in MISSED_REASONS else OTHER
