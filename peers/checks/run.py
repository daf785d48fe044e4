"""A run, seen from this machine before it is joined: its doors, its terms, the clocks, the line, and the way back."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from monitoring.view.claims import swarm_step
from peers.checks.clock import FAR_SECONDS, SET_CLOCK, WRONG_SECONDS
from peers.checks.finding import Finding, fail, ok, warn
from peers.finding.ending import ASK, ending
from peers.finding.visit import seen_from, undialled
from peers.owner.membership import day, look_for_invitation, require_invited
from swarm.errors import SwarmError, UninvitedError
from swarm.run.sizing import show_bytes, show_seconds

if TYPE_CHECKING:
    from peers.checks.prospects import Prospects
    from peers.owner.guest_book import GuestBook
    from swarm.network.host import Network
    from swarm.network.sounding import Way
    from swarm.records import ProgressRecord
    from swarm.run.link import Link
    from swarm.run.manifest import SignedManifest


def peers(count: int) -> str:
    return f"{count} peer{'' if count == 1 else 's'}"


class Seeds:
    """Every address of the link, dialled, with the cause where it does not answer."""

    name = "seeds"

    def __init__(self, network: Network, link: Link) -> None:
        self.network, self.link = network, link

    def look(self) -> Finding:
        causes = self.network.meet(self.link.peers)
        dead = {address: cause for address, cause in causes.items() if cause is not None}
        told = "; ".join(f"{address}: {cause}" for address, cause in dead.items())
        if len(dead) == len(causes):
            fix = "check this machine's connection, or ask for a newer link (`bloomswarm seed` prints it)"
            return fail(self.name, f"nobody answers: {told}", fix, causes=causes)
        if dead:
            alive = f"{len(causes) - len(dead)} of {len(causes)} addresses answer"
            return warn(self.name, f"{alive}; {told}", "ask for a newer link; this one still works", causes=causes)
        return ok(self.name, f"{len(causes)} of {len(causes)} addresses answer", causes=causes)


class Terms:
    """The manifest: from the swarm, what the link says, signed by its owner, and within what this version can do."""

    name = "manifest"

    def __init__(self, network: Network, link: Link) -> None:
        self.network, self.link = network, link
        self.signed: SignedManifest | None = None

    def look(self) -> Finding:
        from peers.finding.arrival import ask_for_manifest
        from peers.known import require_known

        try:
            signed = ask_for_manifest(self.network, self.link)
            require_known(signed.manifest)
        except SwarmError as error:
            return fail(self.name, str(error), "upgrade bloomswarm, or ask for the link again")
        self.signed = signed
        words = f"{signed.manifest.name} ({signed.digest[:16]}), signed by its owner, and this version can take part"
        return ok(self.name, words, run=signed.manifest.name, digest=signed.digest)


class Course:
    """How far the run is: one that has ended needs nobody."""

    name = "run"

    def __init__(self, link: Link, records: Mapping[str, ProgressRecord], steps: int) -> None:
        self.over, self.records, self.steps = ending(link, records), records, steps

    def look(self) -> Finding:
        if self.over is None:
            step = swarm_step(self.records.values(), self.steps)
            count = sum(record.role == "trainer" for record in self.records.values())
            words = f"step {step:,} of {self.steps:,}, {peers(count) if count else 'nobody'} training"
            return ok(self.name, words, step=step, trainers=count)
        values = {"step": self.over.step, "keepers": len(self.over.keepers)}
        if self.over.keepers:
            return warn(self.name, self.over.words, "bloomswarm join LINK   (fetches its final checkpoint)", **values)
        return fail(self.name, f"{self.over.words}, and nobody who is here keeps its final checkpoint", ASK, **values)


class Invited:
    """Of a run that is not open: whether its owner has let this machine's key in. key: False where there is none yet.

    book: of the folder where the peer lives or would live.
    """

    name = "invitation"

    def __init__(self, network: Network, signed: SignedManifest, link: Link, book: GuestBook, key: bool) -> None:
        self.network, self.signed, self.link, self.book, self.key = network, signed, link, book, key

    def look(self) -> Finding:
        assert self.network.guard is not None, "of an open run nobody asks"
        if not self.key:
            fix = "bloomswarm join LINK   (it makes the key, and says the peer id that the owner needs)"
            return fail(self.name, f"only invited peers take part, and {self.book.folder} holds no key yet", fix)
        look_for_invitation(self.network, self.network.guard, self.book, self.link)
        try:
            require_invited(self.network, self.signed)
        except UninvitedError as error:
            words, _, fix = str(error).partition("; ")
            return fail(self.name, words, fix, peer_id=self.network.peer_id)
        held = self.network.guard.admission.invitations[self.network.peer_id]
        return ok(self.name, f"{self.network.identity.name} is invited until {day(held.not_after)}")


class Clock:
    """The median of those that were measured: one wrong clock among the others must not blame ours."""

    name = "clock"

    def __init__(self, ways: Sequence[Way]) -> None:
        self.ways = ways

    def look(self) -> Finding:
        if not self.ways:
            return warn(self.name, "not compared: no peer answered", "bloomswarm doctor LINK   (again, later)")
        behind = statistics.median(way.clock_seconds for way in self.ways)
        words = f"{abs(behind):.1f} s {'behind' if behind > 0 else 'ahead of'} {peers(len(self.ways))}"
        if abs(behind) > WRONG_SECONDS:
            return fail(self.name, f"{words}; at most {WRONG_SECONDS:.0f} s are tolerated", SET_CLOCK, seconds=-behind)
        if abs(behind) > FAR_SECONDS:
            return warn(self.name, words, SET_CLOCK, seconds=-behind)
        return ok(self.name, words, seconds=-behind)


class Line:
    """Speed to a few peers, and what it means for this run."""

    name = "line"

    def __init__(self, ways: Sequence[Way], prospects: Prospects) -> None:
        self.ways, self.prospects = ways, prospects

    def look(self) -> Finding:
        plan = self.prospects
        if plan.exchange_seconds is None:
            return warn(self.name, "not measured: no peer answered", "bloomswarm doctor LINK   (again, later)")
        speeds = ", ".join(f"{way.upload_mbit:.0f}/{way.download_mbit:.0f}" for way in self.ways)
        trips = "/".join(f"{1000 * way.trip_seconds:.0f}" for way in self.ways)
        words = f"{speeds} Mbit/s up/down to {peers(len(self.ways))}, {trips} ms there and back"
        words += f"; about {show_seconds(plan.exchange_seconds)} per exchange"
        if plan.bytes_per_hour is not None:
            words += f", {show_bytes(round(plan.bytes_per_hour))} an hour each way"
        if plan.state_seconds is not None:
            words += f"; the run's state in {show_seconds(plan.state_seconds)}"
        values = {"ways": [vars(way) for way in self.ways], **plan.to_dict()}
        step = show_seconds(plan.step_seconds or 0.0)
        if not plan.can_follow:
            why, _, fix = plan.too_slow().partition("; ")
            return fail(self.name, f"{words}; {why}", fix, **values)
        if not plan.keeps_pace:
            words += f"; that is longer than the swarm's step of {step}: rounds will be missed"
            return warn(self.name, words, "use a faster line; give --upload and --download no cap", **values)
        return ok(self.name, words, **values)


class Reachable:
    """Whether peers can dial this machine, as they see it."""

    name = "reachable"

    def __init__(self, network: Network, peers: Sequence[str]) -> None:
        self.network, self.peers = network, peers
        self.full = False

    def look(self) -> Finding:
        if self.network.client:
            return ok(self.name, "not asked: --client accepts no connection", full=False)
        answers = seen_from(self.network, self.peers)
        if not answers:
            return warn(self.name, "not known: no peer answered", "bloomswarm doctor LINK   (again, later)")
        self.full = any(answer.reached for answer in answers)
        seen = sorted({answer.seen for answer in answers})
        values = {"full": self.full, "seen": seen, "answers": [vars(answer) for answer in answers]}
        where = "of this network only; nobody outside was asked" if all(a.private for a in answers) else "outside"
        if self.full:
            return ok(self.name, f"by {sum(a.reached for a in answers)} of {peers(len(answers))} {where}", **values)
        words = undialled(answers) or ""
        port = next((port for answer in answers for port in answer.ports), 31337)
        fix = (
            f"forward TCP port {port} to this machine and join with --listen /ip4/0.0.0.0/tcp/{port}; or join --client"
        )
        return warn(self.name, words, fix, **values)
