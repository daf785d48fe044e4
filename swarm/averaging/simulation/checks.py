"""What must hold, checked by someone who sees everything: signatures, applications, residuals, time.

The observer has rules of its own for quorum and votes, so that a mistake in the core's cannot hide itself.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from swarm.averaging.round.certificate import Position, after
from swarm.averaging.round.events import Apply, Compute, Store
from swarm.averaging.round.messages import Ballot, Call, Envelope, Fetch, Outcome, Propose, Ready, Roster, Vote
from swarm.averaging.round.policy import effective_weights
from swarm.averaging.simulation.ledger import Ledger
from swarm.averaging.simulation.liveness import Liveness

if TYPE_CHECKING:
    from swarm.averaging.simulation.machine import Machine
    from swarm.averaging.simulation.world import World

Parts = tuple[tuple[bytes, float], ...]
FORK_BALLOTS = 3  # so many must have failed before survivors go on without a quorum


class Checks:
    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.positions: dict[bytes, Position] = {world.genesis.head: world.genesis}
        self.parents: dict[bytes, bytes] = {}
        self.outcomes: dict[bytes, Outcome] = {}
        self.votes: dict[tuple[bytes, bytes, Ballot], set[tuple[str, int]]] = defaultdict(set)
        self.cast: dict[tuple[str, int, bytes], dict[Ballot, bytes]] = defaultdict(dict)
        self.promised: dict[tuple[str, int, bytes], Ballot] = {}
        self.certified: dict[bytes, Outcome] = {}  # by head
        self.certified_at: dict[bytes, float] = {}
        self.places: dict[tuple[bytes, int, bytes], bytes] = {}
        self.states: dict[bytes, tuple[int, ...]] = {world.genesis.head: (0,) * world.policy.spans}
        self.means: dict[tuple[bytes, Ballot, int, str], dict[int, tuple[Parts, bytes]]] = defaultdict(dict)
        self.rosters: dict[tuple[bytes, Ballot], list[tuple[str, ...]]] = defaultdict(list)
        self.called: dict[tuple[bytes, Ballot], float] = {}
        self.lineages: set[bytes] = set()
        self.voided = 0
        self.ledger = Ledger(self)
        self.liveness = Liveness(self)

    def fail(self, what: str) -> None:
        self.violations.append(f"{self.world.now:.3f} s: {what}")
        self.world.say("!!!", what)

    # --- agreement ---------------------------------------------------------------------------------------------------

    def signed(self, machine: Machine, envelope: Envelope) -> None:
        message = envelope.message
        at = message.at
        who = (at.peer, at.incarnation, at.base)
        match message:
            case Call():
                self.called[at.base, at.ballot] = self.world.now
            case Ready():
                self.promised[who] = max(at.ballot, self.promised.get(who, at.ballot))
            case Roster():
                names = [ready.message.at.peer for ready in message.readys]
                self.rosters[at.base, at.ballot].append(tuple(names[index] for index in message.reducers))
            case Propose():
                self.outcomes[message.outcome.digest] = message.outcome
            case Vote():
                self.voted(machine, message)

    def voted(self, machine: Machine, vote: Vote) -> None:
        at = vote.at
        outcome = self.outcomes[vote.outcome]
        if any(not span.void and span.digest not in machine.stores["mean"] for span in outcome.spans):
            self.fail(f"{at.peer} votes for bytes that it does not hold")
        who = (at.peer, at.incarnation, at.base)
        if who in self.promised and at.ballot < self.promised[who]:
            self.fail(f"{at.peer} votes in {at.ballot} after promising {self.promised[who]}")
        if self.cast[who].setdefault(at.ballot, vote.outcome) != vote.outcome:
            self.fail(f"{at.peer} votes twice in {at.ballot}")
        parent = self.positions.get(at.base)
        if parent is None:
            self.fail(f"{at.peer} votes on a base that nobody certified")
            return
        voters = after(parent, outcome).electorate if outcome.fork else parent.electorate
        if (at.peer, at.incarnation) not in {(seat.peer, seat.incarnation) for seat in voters}:
            self.fail(f"{at.peer} votes without a seat")
            return
        votes = self.votes[at.base, vote.outcome, at.ballot]
        votes.add((at.peer, at.incarnation))
        if self.world.enough(len(votes), len(voters)):
            self.certify(parent, outcome)

    def certify(self, parent: Position, outcome: Outcome) -> None:
        if outcome.head in self.certified:
            return
        self.certified[outcome.head] = outcome
        self.certified_at[outcome.head] = self.world.now
        self.positions[outcome.head] = after(parent, outcome)
        self.parents[outcome.head] = parent.head
        self.world.say("***", f"round {outcome.round} certified: {outcome.head.hex()[:6]} on {parent.head.hex()[:6]}")
        place = (outcome.lineage, outcome.round, outcome.base)
        if self.places.setdefault(place, outcome.digest) != outcome.digest:
            self.fail(f"two outcomes certified in round {outcome.round} of one lineage")
        if outcome.fork and parent.electorate and outcome.ballot.number < FORK_BALLOTS:
            self.fail(f"round {outcome.round} is a fork in ballot {outcome.ballot.number}; nobody may give up so early")
        if outcome.fork and parent.electorate:
            self.liveness.forked(parent, outcome.roster)
        self.check_means(outcome)
        self.check_void(outcome)

    def check_means(self, outcome: Outcome) -> None:
        """Each mean holds exactly the parts of its bitmap, each with the weight that its sender signed."""
        readys = [envelope.message for envelope in outcome.readys]
        weights = effective_weights([ready.weight for ready in readys], self.world.policy.weight_cap)
        gifts = [self.ledger.given.get((outcome.base, r.at.peer, r.at.incarnation)) for r in readys]
        for ready, gift in zip(readys, gifts, strict=True):
            if ready.at.peer not in self.world.liars and (gift is None or gift.weight != ready.weight):
                self.fail(f"{ready.at.peer} is rostered with a weight that it did not sign")
        for number, span in enumerate(outcome.spans):
            if span.void:
                self.voided += 1
                continue
            reducer = readys[span.reducer].at
            if reducer.peer in self.world.liars:
                continue
            made = self.means[outcome.base, outcome.ballot, number, reducer.peer]  # by whichever of its incarnations
            inside = [i for i in range(len(readys)) if span.has(i)]
            expected = tuple((gifts[i].digests()[number], weights[i]) for i in inside)  # type: ignore[union-attr]
            if (expected, span.digest) not in made.values():
                self.fail(f"the mean of span {number} in round {outcome.round} is not that of its senders")

    def check_void(self, outcome: Outcome) -> None:
        """A span is void only if a fault touched those who reduced it, or their link to the host, or all who gave."""
        key = (outcome.base, outcome.ballot)
        start, end = self.called.get(key, 0.0), self.world.now
        host = outcome.ballot.host
        for number, span in enumerate(outcome.spans):
            tried = {reducers[number] for reducers in self.rosters[key]}
            if span.void and not any(self.world.touched(name, host, start, end) for name in tried):
                givers = [ready.message.at.peer for ready in outcome.readys if ready.message.weight > 0]
                if all(any(self.world.touched(giver, name, start, end) for name in tried) for giver in givers):
                    continue
                self.fail(f"span {number} of round {outcome.round} is void, and no fault touched {sorted(tried)}")
        names = [*outcome.roster]
        if not self.world.disturbances(start, end):
            for number, span in enumerate(outcome.spans):
                absent = [n for i, n in enumerate(names) if outcome.readys[i].message.weight and not span.has(i)]
                if absent:
                    self.fail(f"{absent} left out of span {number} of round {outcome.round}, and there was no fault")

    def asked(self, machine: Machine, fetch: Fetch) -> None:
        """Who takes part asks for bytes only if a fault may have lost them: those on their way are not sent twice."""
        bases = [fetch.at.base] if fetch.spans else [outcome.base for outcome in self.sent_to(machine, fetch)]
        if not bases:
            return  # asked of a round that goes to others, like a newcomer's
        start = min((at for (base, _), at in self.called.items() if base in bases), default=0.0)
        if not self.world.disturbances(start, self.world.now):
            what = f"parts {list(fetch.spans)}" if fetch.spans else f"{len(fetch.digests)} means"
            self.fail(f"{machine.name} asks for {what}, and there was no fault")

    def sent_to(self, machine: Machine, fetch: Fetch) -> list[Outcome]:
        """The outcomes, of the round under way or of the one before, whose bytes are asked for and come unasked."""
        last, wanted = self.certified.get(fetch.at.base), {*fetch.digests}
        bases = {fetch.at.base, last.base if last is not None else fetch.at.base}
        return [
            outcome
            for outcome in self.outcomes.values()
            if outcome.base in bases and machine.name in outcome.roster and wanted & {s.digest for s in outcome.spans}
        ]

    # --- identity ----------------------------------------------------------------------------------------------------

    def applied(self, machine: Machine, effect: Apply, state: tuple[int, ...]) -> None:
        outcome, name = effect.outcome, machine.name
        if effect.head not in self.certified:
            self.fail(f"{name} applies what no quorum voted for")
        if outcome.base != machine.head:
            self.fail(f"{name} applies round {outcome.round} out of order")
        if self.states.setdefault(effect.head, state) != state:
            self.fail(f"{name} holds {state} after round {outcome.round}, others {self.states[effect.head]}")

    def restored(self, machine: Machine) -> None:
        if self.states.get(machine.head) != machine.state:
            self.fail(f"{machine.name} restored a state that nobody has")

    def released(self, machine: Machine, store: str, digests: tuple[bytes, ...]) -> None:
        """Who voted for an outcome that is certified keeps its bytes for the history's length."""
        if store != "mean":
            return
        newest = machine.core.log.tip.round
        for head, outcome in self.certified.items():
            if outcome.round + self.world.policy.history_rounds <= newest:
                continue
            who = (machine.name, machine.incarnation, outcome.base)
            if outcome.digest in self.cast.get(who, {}).values() and head in machine.core.log.index:
                gone = {span.digest for span in outcome.spans if not span.void} & set(digests)
                if gone:
                    self.fail(f"{machine.name} lets go of bytes of round {outcome.round}, for which it voted")

    def forked(self, machine: Machine, lineage: bytes, round: int) -> None:
        self.lineages.add(lineage)
        self.world.say(machine.name, f"goes on in lineage {lineage.hex()[:6]} from round {round}")

    def proved(self, machine: Machine, peer: str) -> None:
        if peer not in self.world.liars:
            self.fail(f"{machine.name} holds a proof against {peer}, which is honest")

    def computed(self, machine: Machine, effect: Compute, digest: bytes) -> None:
        made = self.means[effect.base, effect.ballot, effect.span, machine.name]
        if machine.incarnation in made:
            self.fail(f"{machine.name} averages span {effect.span} twice in one ballot")
        made[machine.incarnation] = (effect.parts, digest)

    def ended(self) -> None:
        """All is over: books balance, and nothing is stored that the core has forgotten."""
        self.ledger.balance()
        for machine in self.world.members():
            known: dict[Store, set[bytes]]
            known = {"part": set(machine.core.context.parts), "mean": set(machine.core.context.held)}
            for store, digests in known.items():
                extra, absent = set(machine.stores[store]) - digests, digests - set(machine.stores[store])
                if extra or absent:
                    self.fail(f"{machine.name} stores {len(extra)} {store}s its core forgot, lacks {len(absent)}")
