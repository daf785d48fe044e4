"""Control bytes of a round, measured on real messages with real sizes: what is sent besides values.

One level: what a member hears from the host and answers, and what the host sends to all. Two levels: each group runs
the same exchange with its own host; the groups' hosts pass their groups' certificates to the first host, and everyone
gets those of a majority of groups beside the certificate of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.averaging.round.messages import (
    Ballot,
    Call,
    Commit,
    Envelope,
    Header,
    Mean,
    Message,
    Outcome,
    Part,
    Propose,
    Ready,
    Reduced,
    Roster,
    SpanOutcome,
    Vote,
    seal,
)

PEER = "12D3KooW" + "x" * 44  # as long as a peer id is
DIGEST, SIGNATURE = bytes(32), bytes(64)
STATE_BYTES = 8  # of the digest of one span of the shared state; 1/16 of the spans are due in a round
STATE_PARTS = 16


@dataclass(frozen=True)
class Control:
    """Bytes in one round. received, sent: a member that is not a host. host: what the busiest host sends."""

    received: int
    sent: int
    host: int


def control(members: int, groups: int, spans: int) -> Control:
    """For groups of `members` peers; `spans` in the whole vector, of which a member reduces its share."""
    header = Header(DIGEST, DIGEST, 10**4, DIGEST, Ballot(0, PEER, 2**63), PEER, 2**63)
    state = bytes(STATE_BYTES * -(-spans // STATE_PARTS))
    ready = _seal(Ready(header, 48.0, 48, 20e6, True, DIGEST, state, None))
    bitmap = bytes(-(-members // 8))
    outcome = Outcome(
        DIGEST, DIGEST, 10**4, DIGEST, header.ballot, False, (ready,) * members,
        (SpanOutcome(DIGEST, members - 1, bitmap),) * spans,
    )  # fmt: skip
    vote = _seal(Vote(header, DIGEST))
    votes = (vote,) * (members // 2 + 1)
    roster = _bytes(Roster(header, 0, (ready,) * members, (members - 1,) * spans, 30.0))
    certificates = (groups // 2 + 1) * (len(votes) * len(vote.wire) + 2 * len(DIGEST)) if groups > 1 else 0
    own = -(-spans // members)
    down = (
        _bytes(Call(header)) + roster + _bytes(Propose(header, outcome, ())) + _bytes(Commit(header, outcome, votes, 1))
    )
    down += certificates
    labels = spans * _bytes(Mean(header, 0, DIGEST))
    path = (DIGEST,) * max(1, spans.bit_length())
    parts = spans * _bytes(Part(header, 0, DIGEST, path))
    reduced = own * _bytes(Reduced(header, 0, DIGEST, bitmap))
    up = len(ready.wire) + len(vote.wire) + reduced + parts + own * (members - 1) * _bytes(Mean(header, 0, DIGEST))
    return Control(down + labels, up, down * (members - 1) + groups * certificates)


def _seal(message: Message) -> Envelope:
    return seal(message, lambda _: SIGNATURE)


def _bytes(message: Message) -> int:
    return len(_seal(message).wire)
