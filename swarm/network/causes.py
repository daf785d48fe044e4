"""The daemon's many words about a dial that failed, as a few."""

from __future__ import annotations


def dial_cause(said: str) -> str:
    """The daemon's many words about a dial that failed, as a few."""
    for sign, cause in _CAUSES:
        if sign in said:
            return cause
    return " ".join(said.split())[:160] or "no reason given"


def is_unreached(said: str) -> bool:
    """Was there no connection? Else the peer was there, and does not serve what was asked."""
    return dial_cause(said) not in (NOT_SERVED, ITSELF)


NOT_SERVED, ITSELF = "it does not serve this run", "that is this peer itself"
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
    ("routing: not found", "its address is not known"),
    ("failed to find any peer in table", "its address is not known"),
    ("no addresses", "its address is not known"),
    ("dial to self", ITSELF),
    ("dial backoff", "connection failed a moment ago"),
]
