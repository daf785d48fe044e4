"""The books of every peer and span, kept by someone who never forgets: nothing is lost, nothing counts twice.

Sender: contributed = applied + residual + dropped. Reducer: means made = means sent + residual + dropped. All in
integers, so that the balance is exact. What a crash takes from memory is booked as dropped, explicitly.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from swarm.averaging.round.events import Settle
from swarm.averaging.round.messages import Outcome
from swarm.averaging.simulation.arithmetic import Given, Mean, Residuals, digest_of

if TYPE_CHECKING:
    from swarm.averaging.simulation.checks import Checks
    from swarm.averaging.simulation.machine import Machine

Book = tuple[str, int]  # (peer, span)


class Ledger:
    def __init__(self, checks: Checks) -> None:
        self.checks, self.fail = checks, checks.fail
        self.given: dict[tuple[bytes, str, int], Given] = {}  # (base, peer, incarnation)
        self.contributed: Counter[Book] = Counter()
        self.applied: Counter[Book] = Counter()
        self.dropped: Counter[Book] = Counter()
        self.averaged: Counter[Book] = Counter()
        self.sent: Counter[Book] = Counter()
        self.reducer_dropped: Counter[Book] = Counter()

    def encoded(self, machine: Machine, given: Given) -> None:
        key = (given.base, given.peer, given.incarnation)
        if key in self.given:
            self.fail(f"{machine.name} is asked twice to encode for one round")
        self.given[key] = given
        for span, value in enumerate(given.meant):
            self.contributed[given.peer, span] += value
        covered, head = machine.residuals.covered, given.base
        while head in self.checks.parents:
            base = self.checks.parents[head]
            for span in self.mine(self.checks.certified[head], machine.name):
                if (base, span) not in covered and machine.residuals.sender[span]:
                    self.fail(
                        f"{machine.name} owes for span {span} what round {self.checks.certified[head].round} has paid"
                    )
            head = base

    def mine(self, outcome: Outcome, name: str) -> list[int]:
        index = outcome.index(name)
        return [] if index is None else [s for s, span in enumerate(outcome.spans) if span.has(index)]

    def decided(self, base: bytes) -> list[Outcome]:
        return [outcome for outcome in self.checks.certified.values() if outcome.base == base]

    def settled_sender(self, machine: Machine, effect: Settle, given: Given | None) -> None:
        book, span, name = (machine.name, effect.span), effect.span, machine.name
        outcomes = self.decided(effect.base)
        if effect.verdict == "reset":
            self.dropped[book] += machine.residuals.sender[span]
            for key, old in self.given.items():
                mine = key[:2] == (effect.base, name) and old.meant and old.status[span] in ("open", "kept")
                if mine and any(self.holds(outcome, old, span) for outcome in outcomes):
                    meant = old.meant[span] if old.status[span] == "open" else 0  # else it is booked as dropped already
                    self.dropped[book] += meant - old.sent[span]
                    self.applied[book] += old.sent[span]
                    old.status[span] = "reset"
            return
        if given is None or given.status[span] != "open":
            self.fail(f"{name} settles span {span} twice, or one that it did not give")
            return
        inside = [self.holds(outcome, given, span) for outcome in outcomes]
        if effect.verdict == "adopt":
            if not any(inside):
                self.fail(f"{name} adopts a residual of span {span} that no certificate covers")
            if machine.residuals.sender[span] != given.owed[span]:
                self.fail(f"{name}: the residual of span {span} changed while it was in flight")
            self.applied[book] += given.sent[span]
            given.status[span] = "adopted"
        else:
            if inside and all(inside) and effect.base in machine.core.log.index:
                self.fail(f"{name} drops what is in span {span}")
            self.dropped[book] += given.meant[span]
            given.status[span] = "kept"

    @staticmethod
    def holds(outcome: Outcome, given: Given, span: int) -> bool:
        index = outcome.index(given.peer)
        if index is None or outcome.readys[index].message.at.incarnation != given.incarnation:
            return False
        return outcome.spans[span].has(index)

    def settled_reducer(self, machine: Machine, effect: Settle, made: Mean | None) -> None:
        book = (machine.name, effect.span)
        if effect.verdict == "adopt":
            if made is None:
                self.fail(f"{machine.name} adopts a reducer's residual that it does not have")
                return
            chosen = [o.spans[effect.span] for o in self.decided(effect.base) if o.ballot == effect.ballot]
            if not any(o.digest == digest_of(made.sent) for o in chosen):
                self.fail(f"{machine.name} adopts the residual of a mean that was not chosen")
            self.averaged[book] += made.mean
            self.sent[book] += made.sent
        elif effect.verdict in ("reset", "drop"):
            self.reducer_dropped[book] += machine.residuals.reducer[effect.span]

    def crashed(self, machine: Machine) -> None:
        for given in machine.given.values():
            for span, status in enumerate(given.status):
                if status == "open":
                    given.status[span] = "kept"
                    self.dropped[machine.name, span] += given.meant[span]

    def restarted(self, machine: Machine, saved: Residuals) -> None:
        """What was owed in memory and is not on disk is gone."""
        for span, (had, has) in enumerate(zip(machine.residuals.sender, saved.sender, strict=True)):
            self.dropped[machine.name, span] += had - has
        for span, (had, has) in enumerate(zip(machine.residuals.reducer, saved.reducer, strict=True)):
            self.reducer_dropped[machine.name, span] += had - has

    def balance(self) -> None:
        """Both equations of every book; what is still in flight is neither applied nor dropped."""
        for machine in self.checks.world.machines.values():
            for span, owed in enumerate(machine.residuals.sender):
                book = (machine.name, span)
                flying = sum(g.meant[span] for g in machine.given.values() if g.meant and g.status[span] == "open")
                if self.contributed[book] != self.applied[book] + owed + self.dropped[book] + flying:
                    self.fail(f"the ledger of {book} does not balance")
            for span, owed in enumerate(machine.residuals.reducer):
                book = (machine.name, span)
                if self.averaged[book] != self.sent[book] + owed + self.reducer_dropped[book]:
                    self.fail(f"the reducer's ledger of {book} does not balance")
