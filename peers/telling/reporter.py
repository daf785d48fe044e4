"""What a peer says of itself, to all who want to know: the volunteer's log, its metrics, the swarm's directory."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from monitoring.api import Watch, api_routes
from monitoring.exporter import IDLE, PeerExporter, Text
from monitoring.view.facts import facts_of
from peers.checks.clock import ClockWatch
from peers.telling.apart import Apart
from peers.telling.around import Around
from peers.telling.energy import measure_energy
from peers.telling.standing import Standing
from peers.telling.turn import TurnLine
from swarm.averaging.averager import Averaged, Missed
from swarm.run.sizing import show_bytes, show_seconds
from swarm.state.checkpoint import record_of
from swarm.trust.identity import friendly_name

if TYPE_CHECKING:
    from peers.telling.events import Events
    from peers.telling.progress import Progress
    from peers.training.evaluator import Validation
    from peers.training.trainer import StepReport
    from peers.training.work import GradientWork
    from swarm.averaging.averager import Outcome
    from swarm.averaging.live.figures import Figures
    from swarm.data.batches import Batches
    from swarm.network.host import Network
    from swarm.run.manifest import Manifest, SignedManifest
    from swarm.settings import Settings

BRANCH_STEPS = 20  # for which `status` says that the swarm has split


class Reporter:
    """Use as a context manager: it serves `/metrics` and `/health` on loopback while it is open."""

    def __init__(
        self,
        signed: SignedManifest,
        settings: Settings,
        network: Network,
        progress: Progress,
        events: Events,
        folder: Path,
        *,
        link: str,
    ) -> None:
        manifest = signed.manifest
        self.manifest, self.settings, self.network = manifest, settings, network
        self.progress, self.events, self.folder = progress, events, folder
        self.began = time.monotonic()
        self.rounds = Counter({"committed": 0, "missed": 0})
        self.bytes = Counter({"sent": 0, "received": 0})
        self.samples = 0
        self.tokens: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # those of the round
        self.forks = self.quarter = 0
        self.branched: int | None = None  # the step after which this peer's log became one of two
        self.idle = False  # paused
        self.lacking = ""  # what `status` says while no peer gives the state
        self.waited = 0.0  # seconds of the last round in which nothing came yet
        self.watch = Watch(facts_of(signed, link), source=progress.records, me=network.peer_id)
        self.exporter = PeerExporter(
            settings.metrics_port,
            run=network.run_digest,
            languages=tuple(sorted(manifest.data.stock)),
            planned_steps=manifest.training.steps,
            folder=folder,
            pages=api_routes(self.watch),
        )
        measure_energy(self.exporter.instruments, settings)
        self.standing = Standing(self.exporter, network)
        self.around = Around(self.exporter, progress, network, self.standing)
        self.exporter.before_scrape = self.around.look
        self.apart = Apart(network.peer_id, network.client)
        self.clock = ClockWatch(lambda words: events("clock", words))

    def __enter__(self) -> Reporter:
        if self.settings.metrics:
            self.exporter.start()
            url = f"{self.exporter.url}/metrics"
            words = f"Watch the swarm in a browser: {self.exporter.url}/ (metrics: {url})"
            self.events("metrics", words, url=url, port=self.exporter.port)
        return self

    def __exit__(self, *_: object) -> None:
        if self.settings.metrics:
            self.exporter.close()

    def amend(self, version: Manifest) -> None:
        """Another version of the run counts: `manifest` is what is counted against, the identity stays."""
        self.manifest = version
        self.exporter.series.widen("language", sorted(version.data.stock))
        self.exporter.series.put("swarm_planned_steps", version.training.steps)
        self.watch.amend(version)

    def state(self, name: str) -> None:
        self.exporter.state(name)
        step, speed = self.progress.values.get("step", 0), {"samples_per_second": 0.0} if name in IDLE else {}
        self.events.about(step=step, round=step + 1)
        self.progress.tell(step=step, state=name, **speed)

    def averaging(self, began: bool) -> None:
        """A round has begun for this peer, or has ended: told on this machine only, it changes too often."""
        now, then = ("averaging", "training") if began else ("training", "averaging")
        if self.exporter.current_state == then:
            detail = self.exporter.detail
            self.exporter.state(now)
            self.exporter.detail = detail

    def paused(self, paused: bool) -> None:
        self.idle = paused
        self.state("paused" if paused else "training")
        self.note("Paused: nothing is computed until `bloomswarm resume`." if paused else "Training again.")

    def _settle(self, outcome: Outcome, step: int) -> None:
        """After a turn: what this peer is doing, where it is not as it was."""
        alone = isinstance(outcome, Averaged) and len(outcome.roster) == 1 and len(self.progress.members()) < 2
        name = "lagging" if isinstance(outcome, Missed) and outcome.behind else "alone" if alone else "training"
        if not self.idle and self.exporter.current_state != name:
            self.state(name)
        if self.branched is not None and step - self.branched > BRANCH_STEPS:
            self.branched = None
        branch = f"as a branch since step {self.branched:,}" if self.branched is not None else ""
        if isinstance(outcome, Averaged):
            words = self.apart.round([member.peer_id for member in outcome.roster], self.progress.members())
            if words is not None:
                self.note(words)
        self.exporter.detail = self.lacking or self.apart.detail or branch

    def note(self, words: str) -> None:
        self.events("note", words)

    def checkpoint(self, path: Path | None) -> None:
        """One was written at `path`, or None: it could not be."""
        self.exporter.checkpoint(path is not None)
        same = path is not None and self.manifest.averaging.algorithm == "round"
        digest = record_of(path).state if same and path is not None else None
        self.standing.checkpoint(path is not None, self.progress.values.get("step", 0), digest)
        if self.progress.values:
            self.progress.tell(**self.standing.fields())

    def validated(self, found: Validation) -> None:
        """This peer has measured held-out text. Called from the evaluator's thread."""
        self.standing.validated(found)
        bits = found.bits_per_byte.values()
        mean = f"{sum(bits) / len(bits):.3f} bits per byte, mean of {len(bits)} languages"
        values = {code: round(value, 4) for code, value in found.bits_per_byte.items()}
        words = f"Held-out text at step {found.step:,}: {mean} (in {show_seconds(found.seconds)}, beside training)."
        self.events("validation", words, at=found.step, bits_per_byte=values)

    def download(self, completed: bool) -> None:
        self.exporter.download(completed)
        self.lacking = ""
        if completed:
            self.standing.replaced()

    def lacks_state(self, asked: int) -> None:
        """It is behind, and none of so many others gives it a state now."""
        self.state("lagging")
        self.lacking = self.exporter.detail = f"and none of the others here ({asked}) gives it the run's state now"

    def downloading(self, done: int, total: int, donors: int) -> None:
        """For `status` and the metrics, and a line for the log at every quarter."""
        self.exporter.downloading(done, total, donors)
        quarter = 4 * done // max(total, 1)
        if quarter != self.quarter and donors:
            self.note(f"Downloading the run's state: {self.exporter.detail}, {show_bytes(total)} in all.")
        self.quarter = quarter

    def gave_up(self, donor: str, reason: str, detail: str) -> None:
        """A donor of state that was given up; others go on."""
        self.exporter.gave_up(reason)
        self.note(f"Gave up {friendly_name(donor)} as a donor of the state ({reason}): {detail}.")

    def step(self, report: StepReport, work: GradientWork, batches: Batches | None) -> None:
        """One turn of the trainer's loop: count it, export it, tell the swarm, and say it in one line."""
        outcome = report.outcome
        stats = outcome.stats
        self.bytes.update(sent=stats.bytes_sent, received=stats.bytes_received)
        self.tokens.update(work.tokens)
        self.standing.round(outcome, report.average_seconds)
        match outcome:
            case Averaged():
                self.rounds["committed"] += 1
                self.samples += report.samples if outcome.included else 0
                self._committed(report, outcome)
            case _:
                self.rounds["missed"] += 1
                self.exporter.round(
                    "missed",
                    outcome.reason,
                    seconds=stats.seconds,
                    bytes_sent=stats.bytes_sent,
                    bytes_received=stats.bytes_received,
                )
        waited = min(self.waited, report.average_seconds)
        rested = report.compute_seconds if self.idle else 0.0
        seconds = {
            "compute": report.compute_seconds - rested,
            "wait": waited + rested,
            "average": report.average_seconds - waited,
            "apply": report.apply_seconds,
        }
        self.exporter.step(report.step, work.loss, report.samples, text=text_of(work), seconds=seconds)
        if batches is not None and batches.coverage is not None:
            seen = batches.coverage
            self.exporter.coverage({code: seen.fraction(code) for code in seen.reads}, seen.overlap)
        self.clock.look(self.around.look())
        self._settle(outcome, report.step)
        self._tell(report, work, sum(seconds.values()))
        said = TurnLine(report, work, sum(seconds.values()), self.manifest.training.steps, self.progress.role)
        self.events.about(step=report.step, round=said.round)
        self.events("step", said.words, **said.values)

    def figures(self, figures: Figures) -> None:
        """What the round counted by itself: agreement of states, residuals, forks, and what it refused."""
        self.waited = figures.waited
        self.standing.figures(figures)
        self.exporter.arrival_spread(figures.arrival_spread)
        self.exporter.agreement(figures.agreement)
        self.exporter.residual_norm(figures.residual_norm)
        for _ in range(figures.forks - self.forks):
            self.exporter.forked()
            self.branched = int(self.progress.values.get("step", 0))
            self.note(
                "Half of the swarm has gone: training goes on as a branch, which heals when the others come back."
            )
        self.forks = figures.forks
        refused = figures.rejected()
        for reason, count in (refused - self.refused).items():
            self.exporter.rejected(reason, count)
        self.refused = refused

    def _committed(self, report: StepReport, outcome: Averaged) -> None:
        stats = outcome.stats
        self.exporter.round(
            "committed",
            seconds=stats.seconds,
            group_size=len(outcome.roster),
            samples=report.samples if outcome.included else 0,
            bytes_sent=stats.bytes_sent,
            bytes_received=stats.bytes_received,
            codec_error=stats.codec_relative_error,
            codec_cosine=stats.codec_cosine,
            ballots=stats.ballots,
            void_spans=stats.void_spans,
        )

    def _tell(self, report: StepReport, work: GradientWork, seconds: float) -> None:
        private = self.settings.private
        self.progress.tell(
            step=report.step,
            samples=0,
            total_samples=self.samples,
            loss=min(work.loss, 1e4) if work.loss is not None and not private else None,
            samples_per_second=report.samples / seconds if seconds > 0 else 0.0,
            tokens_by_language=dict(self.tokens),
            loss_by_language={
                code: min(read.loss, 1e4)
                for code, read in text_of(work).items()
                if read.loss is not None and not private
            },
            private=private,
            **self.standing.fields(),
        )


def text_of(work: GradientWork) -> dict[str, Text]:
    """What the contribution was made of, by language."""
    counts, losses = work.language_samples, work.language_losses
    return {code: Text(count, work.tokens[code], losses[code] / count) for code, count in counts.items()}
