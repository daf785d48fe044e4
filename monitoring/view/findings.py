"""Which problems a swarm has now, whom they concern, and in which words a newcomer is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from monitoring.problems import BY_SLUG, SLUGS, Problem
from monitoring.view.acquaintance import Acquaintance
from monitoring.view.digests import differing_peers
from monitoring.view.lineages import off_lineage
from monitoring.view.paces import usual_pace
from monitoring.view.swarm import RESTING, SwarmView

STALLED_SECONDS, STALLED_INTERVALS = 120.0, 8.0
GRACE_SECONDS = 20.0  # peers apply a round at slightly different times
FEWEST_ROUNDS, MOST_MISSED = 6, 0.3
LOST_SECONDS, LOST_FEWEST, LOST_PART = 300.0, 2, 0.25
DISK_BYTES = 512e6
CLOCK_SECONDS = 10.0
OLD_CHECKPOINTS = 4.0  # times the run's interval
REFUSED_FEWEST = 20


@dataclass(frozen=True)
class Finding:
    problem: Problem
    words: str
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reach:
    """What the prober found: peers that announce an address and cannot be dialled."""

    unreachable: tuple[str, ...] = ()


def findings(view: SwarmView, now: float, reach: Reach = Reach()) -> list[Finding]:
    """In the order of the list of problems: the gravest first. A finished run whose peers went home is not ill."""
    found = {finding.problem.slug: finding for finding in _all(view, now, reach)}
    return [found[slug] for slug in SLUGS if slug in found]


def _all(view: SwarmView, now: float, reach: Reach) -> Iterator[Finding]:
    yield from _monitor(view, now)
    if view.looked == 0:
        return
    yield from _presence(view, now)
    if view.finished:
        return
    yield from _progress(view, now)
    yield from _agreement(view, now)
    yield from _claims(view, now)
    yield from _machines(view, now)
    if reach.unreachable:
        yield _of("peers-unreachable", f"{_peers(len(reach.unreachable))} cannot be dialled.", reach.unreachable)


def _monitor(view: SwarmView, now: float) -> Iterator[Finding]:
    since = view.looked or view.began
    if view.stale(now):
        yield _of("monitor-stale", f"This picture is {now - since:.0f} s old.")
    if view.directory_failed_since is not None:
        yield _of("directory-failing", f"The directory has not answered for {now - view.directory_failed_since:.0f} s.")


def _presence(view: SwarmView, now: float) -> Iterator[Finding]:
    others = [known for known in view.live() if known.record.role != "monitor"]
    silent = dict.fromkeys(peer for time, peer in view.gone if now - time <= LOST_SECONDS)
    lost = tuple(peer for peer in silent if peer in view.known and view.known[peer].departed == "lost")
    if not view.finished and len(lost) >= max(LOST_FEWEST, LOST_PART * (len(others) + len(lost))):
        yield _of("peers-falling", f"{_peers(len(lost))} fell silent in the last five minutes.", lost)
    if view.finished:
        return
    if not others:
        yield _of("no-peers", f"The last known step is {view.step:,} of {view.facts.steps:,}.")
        return
    active = [known for known in view.trainers() if known.record.state != "paused"]
    if not active:
        idle = [known for known in others if known.record.role == "trainer"]
        yield _of("no-trainers", f"{_peers(len(others))} here, none of them trains.", _ids(idle))
    if not any(known.record.role == "seed" for known in others):
        yield _of("no-seed", "No seed has been heard of lately.")


def _progress(view: SwarmView, now: float) -> Iterator[Finding]:
    interval, age = view.interval(), now - view.step_time
    trainers = [known for known in view.trainers() if known.record.state not in RESTING]
    limit = max(STALLED_SECONDS, STALLED_INTERVALS * (interval or 0.0))
    if trainers and age > limit:
        still = [known for known in trainers if now - known.moved > limit]
        usual = f"; a step usually takes {interval:.0f} s" if interval else ""
        yield _of("no-global-step", f"The last step was {age:.0f} s ago{usual}.", _ids(still))
    lately = view.lately(now)
    missed, committed = lately["round", "missed"], lately["round", "committed"]
    if missed + committed >= FEWEST_ROUNDS and missed > MOST_MISSED * (missed + committed):
        reasons = Counter({key[1]: n for key, n in lately.items() if key[0] == "outcome" and key[1] != "committed"})
        most = ", ".join(reason for reason, _ in reasons.most_common(2))
        words = f"{missed} of the last {missed + committed} reports of rounds are failures ({most})."
        yield _of("rounds-failing", words, _ids([known for known in trainers if _misses(known)]))
    behind = [known for known in trainers if known.behind_since and now - known.behind_since > GRACE_SECONDS]
    if behind:
        yield _of("peers-behind", f"{_peers(len(behind))} more than one step behind.", _ids(behind))
    yield from _slow(view)
    yield from _starved(view, now, trainers)


def _slow(view: SwarmView) -> Iterator[Finding]:
    slow = tuple(known.peer_id for known in view.trainers() if known.slow)
    if slow:
        usual = usual_pace(view) or 0.0
        yield _of("peer-slow", f"{_peers(len(slow))} under a quarter of the usual {usual:,.1f} samples/s.", slow)


def _starved(view: SwarmView, now: float, trainers: list[Acquaintance]) -> Iterator[Finding]:
    starved = view.starved
    if starved:
        began = now - max(starved.values()) / 2  # it is found when three quarters of the window are without
        without = [known for known in trainers if any(known.read.get(code, 0.0) < began for code in starved)]
        names, minutes = ", ".join(list(starved)[:6]), max(starved.values()) / 60
        words = f"Hardly any text of {names} in the last {minutes:.0f} minutes."
        yield _of("language-starved", words, _ids(without))


def _agreement(view: SwarmView, now: float) -> Iterator[Finding]:
    differing = differing_peers(view, now)
    if differing:
        yield _of("digests-differ", f"{_peers(len(differing))} with another model than the majority.", differing)
    apart = off_lineage(view)
    if apart:
        yield _of("forked", f"{_peers(len(apart))} on another lineage.", apart)


def _claims(view: SwarmView, now: float) -> Iterator[Finding]:
    if implausible := view.checked.implausible:
        first = next(iter(implausible.values()))[0]
        yield _of("claims-implausible", f"{_peers(len(implausible))}, for instance one {first}.", tuple(implausible))
    lately = view.lately(now)
    refused = Counter({key[1]: n for key, n in lately.items() if key[0] == "rejected" and key[1] != "implausible"})
    if refused.total() >= REFUSED_FEWEST:
        most = refused.most_common(1)[0][0]
        words = f"{refused.total()} records refused in the last ten minutes, most for: {most}."
        yield _of("rejected-input", words, tuple(sorted(view.unread)))


def _machines(view: SwarmView, now: float) -> Iterator[Finding]:
    live = [known for known in view.live() if known.record.role != "monitor"]
    wrong = [known for known in live if known.skew is not None and abs(known.skew) > CLOCK_SECONDS]
    if wrong:
        worst = max(wrong, key=lambda known: abs(known.skew or 0))
        way = "behind" if (worst.skew or 0) < 0 else "ahead"
        words = f"The clock of {_peers(len(wrong))} is off; the worst is {abs(worst.skew or 0):.0f} s {way}."
        yield _of("clock-wrong", words, _ids(wrong))
    full = [known for known in live if known.record.disk_free_bytes is not None]
    full = [known for known in full if (known.record.disk_free_bytes or 0) < DISK_BYTES]
    failed = [known for known in live if known.record.checkpoint_failed]
    if full or failed:
        room = f"{_peers(len(full))} with less than {DISK_BYTES / 1e6:.0f} MB free." if full else ""
        lack = f"{_peers(len(failed))} could not write the last checkpoint." if failed else ""
        yield _of("disk-full", f"{room} {lack}".strip(), tuple(dict.fromkeys(_ids([*full, *failed]))))
    growing = [known for known in live if known.memory_grew]
    if growing:
        yield _of("memory-growing", f"{_peers(len(growing))} with memory up by half.", _ids(growing))
    saved = [known.record.checkpoint_step for known in live if known.record.checkpoint_step is not None]
    if saved and view.step - max(saved) > OLD_CHECKPOINTS * view.facts.checkpoint_every:
        words = f"The newest is of step {max(saved):,}."
        yield _of("checkpoint-old", words, _ids([known for known in live if known.record.role == "trainer"]))


def _misses(known: Acquaintance) -> bool:
    rounds = known.record.rounds
    return sum(rounds.values()) > 2 * rounds.get("committed", 0)


def _of(slug: str, words: str, peers: tuple[str, ...] = ()) -> Finding:
    return Finding(BY_SLUG[slug], words, peers)


def _ids(known: list[Acquaintance]) -> tuple[str, ...]:
    return tuple(each.peer_id for each in known)


def _peers(count: int) -> str:
    return f"{count} peer{'' if count == 1 else 's'}"
