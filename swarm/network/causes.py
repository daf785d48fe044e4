"""The daemon's many words about a dial that failed, as a few."""

from __future__ import annotations


def dial_cause(said: str) -> str:
    """The daemon's many words about a dial that failed, as a few."""
    for sign, cause in _CAUSES:
        if sign in said:
            return cause
    return " ".join(said.split())[:160] or "no reason given"


UNKNOWN, NOT_SERVED = "its address is not known", "it does not serve this run"
_CAUSES = [
    ("peer id mismatch", "another peer answers there"),
    ("connection refused", "connection refused"),
    ("no route to host", "no route to host"),
    ("network is unreachable", "network is unreachable"),
    ("no such host", "no such host name"),
    ("i/o timeout", "no answer (timed out)"),
    ("deadline exceeded", "no answer (timed out)"),
    ("protocols not supported", NOT_SERVED),
    ("protocol not supported", NOT_SERVED),
    ("routing: not found", UNKNOWN),
    ("failed to find any peer in table", UNKNOWN),
    ("no addresses", UNKNOWN),
    ("dial to self", "that is this peer itself"),
    ("dial backoff", "connection failed a moment ago"),
]
