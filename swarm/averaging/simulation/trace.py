"""Messages in one line each, for the trace of a schedule."""

from __future__ import annotations

from swarm.averaging.round.messages import Envelope, Outcome


def describe(envelope: Envelope) -> str:
    message = envelope.message
    at = message.at
    what = f"{type(message).__name__} round {at.round} {at.base.hex()[:6]} ballot {at.ballot.number}/{at.ballot.host}"
    outcome = getattr(message, "outcome", None)
    if isinstance(outcome, Outcome):
        spans = " ".join(f"{s.digest.hex()[:4] or 'void'}" for s in outcome.spans)
        what += f" {'fork ' if outcome.fork else ''}{outcome.head.hex()[:6]} [{','.join(outcome.roster)}] {spans}"
    elif isinstance(outcome, bytes):
        what += f" for {outcome.hex()[:6]}"
    for name in ("span", "spans", "heads", "digests", "attempt", "reducers", "vote", "weight"):
        value = getattr(message, name, None)
        if value not in (None, ()):
            short = [v.hex()[:6] if isinstance(v, bytes) else v for v in value] if isinstance(value, tuple) else value
            what += f" {name} {short}"
    return what
