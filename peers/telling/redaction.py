"""Taking out of text what says who or where somebody is, and what opens something: for files that people send around.

It errs towards taking out too much. What stays is what a bug needs: times, versions, digests, steps, peers' friendly
names. Hexadecimal digests stay, so a secret in plain hexadecimal would too: nothing of ours writes one.
"""

from __future__ import annotations

import getpass
import ipaddress
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from swarm.trust.peer_id import friendly_name

Replace = str | Callable[[re.Match[str]], str]
SECRET_NAMES = r"pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|authorization|bearer|credentials?"
OURS = {"root", "user", "localhost"}  # names that say nothing about anybody, and are words in our logs


def peer(found: re.Match[str]) -> str:
    """The friendly name: enough to tell peers apart, and not the key."""
    return f"[{friendly_name(found[0])}]"


def address(found: re.Match[str]) -> str:
    """What is written like an IPv6 address, where it is one: times and digests have colons too."""
    try:
        ipaddress.ip_address(found[0].partition("%")[0])
    except ValueError:
        return found[0]
    return "[address]"


SECRET = rf"""(?ix)
    (\b(?:\w+[_-])?(?:{SECRET_NAMES})\b[\\"']*\s*[=:]\s*(?:bearer\s|basic\s)?[\\"']*  # password: ..., "api_key": "..."
    |--?(?:\w+-)?(?:{SECRET_NAMES})\s+)  # --token ...
    [^\s"'\\,;&]{{6,}}
"""
PATTERNS: tuple[tuple[re.Pattern[str], Replace], ...] = (
    (re.compile(r"(?s)-----BEGIN [^-]{1,40}-----(?:.{0,4000}?-----END [^-]+-----|[\w+/=\s\\]*)"), "[key]"),
    (re.compile(r"\A[\w+/=\s\\]*-----END [^-]+-----"), "[key]"),
    (re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{40,}={1,2}"), "[key]"),
    (re.compile(r"(?<=[?&]peer=)[^\s\"'&]+"), "[address]"),
    (re.compile(r"/(?:ip4|ip6|ip6zone|dns|dns4|dns6|dnsaddr|onion3|p2p|unix)/[^\s\"'&,;)\\]+"), "[address]"),
    (re.compile(r"\b(?:12D3KooW|Qm)[1-9A-HJ-NP-Za-km-z]{44}\b"), peer),
    (re.compile(r"(?<=://)[^\s/@\"']+@"), "[user]@"),
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.-]+"), "[mail]"),
    (re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]+)?(?![\w.]*\w)"), "[address]"),
    (re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w:])"), "[address]"),
    (re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*(?:%\w+)?(?![\w:])"), address),
    (re.compile(r"(?i)\b(?:hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA)[A-Za-z0-9_-]{10,}"), "[token]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "[token]"),
    (re.compile(SECRET), r"\1[secret]"),
    (re.compile(r"(?i)((?:/home/|/users/|\\users\\|\\\\users\\\\))[^/\\\s\"':,;]+"), r"\1[user]"),
)


def redact(text: str) -> str:
    """`text` without keys, addresses, mail addresses, access tokens, home folders, this user's and machine's names."""
    for home in written(str(Path.home())):
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if len(home) > 1 else text
    for pattern, replace in PATTERNS:
        text = pattern.sub(replace, text)
    for name, word in names():
        for form in written(name):
            text = re.sub(rf"(?i)(?<![^\W_]){re.escape(form)}(?![^\W_])", word, text)
    return text


def names() -> Iterator[tuple[str, str]]:
    """What this user and this machine are called, the longest first, where that could tell somebody."""
    found = {user_name(): "[user]", Path.home().name: "[user]"}
    host = socket.gethostname()
    found |= {host: "[host]", host.partition(".")[0]: "[host]"}
    yield from sorted(
        ((name, word) for name, word in found.items() if len(name) > 2 and name.lower() not in OURS),
        key=lambda pair: -len(pair[0]),
    )


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""


def written(name: str) -> set[str]:
    """How a name stands in plain text, and in a JSON line."""
    return {name, json.dumps(name)[1:-1]}
