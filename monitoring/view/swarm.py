"""The picture of a swarm over time: fed with everybody's records every few seconds, asked for figures at any moment."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from monitoring.metrics import OTHER
from monitoring.view.acquaintance import KEPT, Acquaintance, meeting
from monitoring.view.claims import Checked, check, swarm_step
from monitoring.view.counting import since
from monitoring.view.digests import differing
from monitoring.view.facts import RunFacts
from monitoring.view.held_out import Measurement, newest, remember
from monitoring.view.paces import mark_slow
from monitoring.view.robust import cap_of, capped_sum, median
from monitoring.view.starving import starved_languages
from swarm.records import ProgressRecord

POINTS = 400  # of a curve; older ones are thinned, so that a long run keeps its shape
ROUNDS = 50
RECENT_SECONDS = 600.0
HUNG_SECONDS, HUNG_INTERVALS = 60.0, 4.0  # without a new sample: what a peer said of its speed holds no more
STALE_SECONDS = 60.0
FALLEN_SECONDS = 60.0  # a lower step is the swarm's once it has stayed: peers that come back begin at an old one
GOODBYE = ("leaving", "finished")
RESTING = ("assembling", "waiting", "paused")  # trainers of which nobody expects a step
COMPUTING = ("training", "averaging", "lagging", "alone")


@dataclass(frozen=True)
class Point:
    """One step of the swarm as seen from here. losses: by language."""

    step: int
    time: float
    loss: float | None
    peers: int
    seconds: float | None
    committed: int
    missed: int
    losses: Mapping[str, float] = field(default_factory=dict)


class SwarmView:
    """now: Unix seconds, always given. Counters count what this view saw happen; figures are about now."""

    def __init__(self, facts: RunFacts, now: float) -> None:
        self.facts, self.began = facts, now
        self.known: dict[str, Acquaintance] = {}
        self.checked = Checked()
        self.step, self.step_time, self.looked = 0, now, 0.0
        self.fallen_since: float | None = None
        self.seen_step = False  # whether a step was made while we looked
        self.finished = False
        self.curve: list[Point] = []
        self.validations: list[Measurement] = []
        self.rounds: deque[Point] = deque(maxlen=ROUNDS)
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.gone: deque[tuple[float, str]] = deque(maxlen=1000)  # (time, peer) lost without a word
        self.recent: deque[tuple[float, Counter[tuple[str, ...]]]] = deque(maxlen=400)
        self.lineages: set[str] = set()
        self.starved: dict[str, float] = {}  # language -> seconds in which it lacked
        self.stranger_rejections: Counter[str] = Counter()
        self.unread: set[str] = set()  # peers whose record could not be read at the last look
        self.directory_failed_since: float | None = None

    # --- being fed --------------------------------------------------------------------------------------------------

    def observe(
        self,
        records: Mapping[str, ProgressRecord],
        now: float,
        rejected: Mapping[str, int] | None = None,
        unread: frozenset[str] = frozenset(),
    ) -> None:
        """One look at the directory. rejected: what was refused so far, by reason. unread: peers with bad records."""
        before = Counter(self.counts)
        self.directory_failed_since, self.looked, self.unread = None, now, set(unread)
        self._reject(rejected or {})
        self.checked = check(records, self.facts, self.step, self.interval())
        for peer in self.checked.implausible:
            if self.known.get(peer) is None or self.known[peer].record.clock != records[peer].clock:
                self.counts["rejected", "implausible"] += 1
        self._meet(self.checked.records, now)
        self._miss(now)
        self._advance(now)
        self.validations = remember(
            self.validations, newest((known.record for known in self.trainers()), self.facts, self.step)
        )
        for known in differing(self.trainers()):
            known.differed = now
        self.recent.append((now, self.counts - before))
        self.starved = starved_languages(self, now)
        mark_slow(self)

    def unanswered(self, now: float) -> None:
        """No door answered. Where nobody was left before, that is how it still looks, and the picture is not old."""
        since = self.directory_failed_since or now
        if not any(known.record.role != "monitor" for known in self.live()):
            self.observe({}, now, self.stranger_rejections)
        self.directory_failed_since = since

    def amend(self, facts: RunFacts) -> None:
        """Another version of the same run counts: a longer one is not finished, whatever was thought of it before."""
        self.facts = facts
        self.finished = self.step >= facts.steps

    def _reject(self, totals: Mapping[str, int]) -> None:
        for reason, count in (Counter(totals) - self.stranger_rejections).items():
            self.counts["rejected", reason] += count
        self.stranger_rejections = Counter(totals)

    def _meet(self, records: Mapping[str, ProgressRecord], now: float) -> None:
        first = not self.known and not self.curve
        sums: Counter[tuple[str, ...]] = Counter()
        given: dict[str, Counter[tuple[str, ...]]] = {}
        for peer, record in records.items():
            known = self.known.get(peer)
            if known is None or (known.departed and record.state not in GOODBYE):
                self.counts["joined", record.role] += 0 if first else 1
            doubted = peer in self.checked.implausible
            if known is not None and not doubted and not known.doubted:
                given[peer] = since(known.record, record, self.facts)
            if known is None:
                known = self.known[peer] = meeting(peer, record, now)
            else:
                known.meet(record, now)
            known.doubted = doubted
            known.read |= {key[1]: now for key in given.get(peer, ()) if key[0] == "tokens" and key[1] != OTHER}
            if record.lineage and record.lineage not in self.lineages and len(self.lineages) < KEPT:
                self.counts["forks",] += 1 if self.lineages else 0
                self.lineages.add(record.lineage)
        for key in {key for counts in given.values() for key in counts}:
            values = [float(counts[key]) for counts in given.values()]
            cap = cap_of(values)
            sums[key] += int(sum(min(value, cap) for value in values))
        self.counts.update(sums)

    def _miss(self, now: float) -> None:
        for peer, known in self.known.items():
            if known.departed is None and (known.last_seen < now or known.record.state in GOODBYE):
                if known.last_seen == now and known.record.state != "leaving":
                    continue
                known.departed = "left" if known.record.state in GOODBYE else "lost"
                self.counts["gone", known.departed] += 1
                if known.departed == "lost":
                    self.gone.append((now, peer))
        for peer in sorted(self.known, key=lambda peer: self.known[peer].last_seen)[: max(0, len(self.known) - KEPT)]:
            del self.known[peer]

    def _advance(self, now: float) -> None:
        trainers = self.trainers()
        for known in trainers:
            behind = known.record.step < self.step - 1
            known.behind_since = (known.behind_since or now) if behind else None
        if not trainers:
            self._hear_the_end()
            return
        step = swarm_step([known.record for known in trainers], self.facts.steps)
        if self._falls(step, now):
            return
        if step != self.step or not self.curve:
            made = max(0, step - self.step) if self.curve else 0
            self.counts["steps",] += made
            self.seen_step = self.seen_step or made > 0
            self._mark(step, now, (now - self.step_time) / made if made else None)
            self.step, self.step_time = step, now
        self.finished = self.finished or self.step >= self.facts.steps

    def _hear_the_end(self) -> None:
        """Nobody trains: a door of the run's link, which stays, knows whether it has ended."""
        doors = [known for known in self.live() if known.peer_id in self.facts.doors]
        told = [known.record for known in doors if known.record.state == "finished"]
        end = max((record.step for record in told if record.role in ("seed", "archive")), default=0)
        if end >= max(self.step, 1):
            self.step, self.finished = end, True

    def _falls(self, step: int, now: float) -> bool:
        """Whether this is a lower step that has not stayed yet. One that stays takes the curve back with it."""
        if step >= self.step:
            self.fallen_since = None
            return False
        self.fallen_since = self.fallen_since or now
        if now - self.fallen_since < FALLEN_SECONDS:
            return True
        self.curve = [point for point in self.curve if point.step < step]
        return False

    def _mark(self, step: int, now: float, seconds: float | None) -> None:
        records = [known.record for known in self.trainers()]
        point = Point(
            step=step,
            time=now,
            loss=median([record.loss for record in records if record.loss is not None]),
            peers=len(records),
            seconds=seconds,
            committed=self.counts["round", "committed"],
            missed=self.counts["round", "missed"],
            losses=self.language_losses(),
        )
        self.rounds.append(point)
        self.curve.append(point)
        if len(self.curve) > POINTS:  # every second of the older half
            half = len(self.curve) // 2
            self.curve = self.curve[:half:2] + self.curve[half:]

    # --- being asked ------------------------------------------------------------------------------------------------

    def live(self) -> list[Acquaintance]:
        return [known for known in self.known.values() if known.departed is None]

    def trainers(self) -> list[Acquaintance]:
        return [known for known in self.live() if known.record.role == "trainer"]

    def training(self) -> list[Acquaintance]:
        """Those of them that compute, or would if they were not behind; not who gets ready, is paused or is done."""
        return [known for known in self.trainers() if known.record.state in COMPUTING]

    def language_losses(self) -> dict[str, float]:
        """Median over peers; only languages of the run."""
        found: dict[str, list[float]] = {}
        for known in self.trainers():
            for code, loss in known.record.loss_by_language.items():
                if code in self.facts.planned:
                    found.setdefault(code, []).append(loss)
        return {code: value for code, losses in sorted(found.items()) if (value := median(losses)) is not None}

    def lately(self, now: float, seconds: float = RECENT_SECONDS) -> Counter[tuple[str, ...]]:
        """What was counted in the last seconds."""
        total: Counter[tuple[str, ...]] = Counter()
        for time, counts in self.recent:
            if now - time <= seconds:
                total.update(counts)
        return total

    def interval(self) -> float | None:
        """Seconds from one step to the next: median of the last ones."""
        return median([point.seconds for point in list(self.rounds)[-20:] if point.seconds is not None])

    def remaining(self, now: float) -> float | None:
        """Seconds to the end of the run at the present speed; 0 when it has ended; None where nothing moves."""
        interval, speed = self.interval(), self.speed(now)
        if self.finished:
            return 0.0
        return None if interval is None or not speed else max(0.0, (self.facts.steps - self.step) * interval)

    def stale(self, now: float) -> bool:
        """Whether the picture is too old to be trusted."""
        return now - (self.looked or self.began) > STALE_SECONDS

    def speeds(self, now: float) -> list[float]:
        """Samples a second of each trainer; 0 of one from which nothing new has come for too long."""
        limit = max(HUNG_SECONDS, HUNG_INTERVALS * (self.interval() or 0.0))
        return [known.record.samples_per_second if now - known.moved <= limit else 0.0 for known in self.trainers()]

    def speed(self, now: float) -> float | None:
        """Samples a second of all trainers; None while the picture is stale."""
        return None if self.stale(now) else capped_sum(self.speeds(now))

    # --- kept over restarts -----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": self.facts.digest,
            "step": self.step,
            "step_time": self.step_time,
            "seen_step": self.seen_step,
            "finished": self.finished,
            "curve": [asdict(point) for point in self.curve],
            "rounds": [asdict(point) for point in self.rounds],
            "validations": [asdict(found) for found in self.validations],
        }

    def restore(self, value: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave, where it is of this run. ValueError, KeyError, TypeError: not its form."""
        if value["run"] != self.facts.digest:
            return
        self.curve = [Point(**point) for point in value["curve"]]
        self.rounds.extend(Point(**point) for point in value["rounds"])
        self.validations = [Measurement(**found) for found in value.get("validations", ())]
        self.step, self.step_time = int(value["step"]), float(value["step_time"])
        self.seen_step, self.finished = bool(value["seen_step"]), bool(value["finished"])
