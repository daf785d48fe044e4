"""docs/protocol.md lists the messages and frames that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from swarm.averaging.codec import CODECS
from swarm.averaging.codec.frame import HEADER_BYTES, MAGIC, frame_bytes
from swarm.averaging.round import messages
from swarm.averaging.round.messages import Header, Message, Outcome

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def test_every_message_stands_in_the_table_with_its_fields() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| (\w+) \| (yes|no) \| [^|]* \| ?([^|]*?) ?\|$", TEXT)
    kinds = sorted(Message.__subclasses__(), key=lambda kind: kind.TAG)
    assert rows == [
        (
            str(kind.TAG),
            kind.__name__,
            "yes" if kind.SIGNED else "no",
            ", ".join(item.name for item in fields(kind) if item.name != "at"),
        )
        for kind in kinds
    ]


def test_the_header_the_outcome_and_the_limits_are_those_of_the_code() -> None:
    header = re.search(r"(?m)^Header: (.*)\.$", TEXT)
    assert header is not None
    assert re.sub(r" \([^)]*\)", "", header[1]).split(", ") == list(Header._fields)
    assert f"`[{', '.join(item.name for item in fields(Outcome))}]`" in TEXT
    limits = f"{messages.MAX_BYTES >> 20} MiB a message without its payload, {messages.MAX_PEERS:,} peers, "
    assert limits + f"{messages.MAX_SPANS:,} spans, {messages.MAX_ITEMS} items a question" in " ".join(TEXT.split())


def test_frames_are_those_of_the_code() -> None:
    assert f"| 0 | 3 | `{MAGIC[:3].decode()}` |" in TEXT
    assert f"| 3 | 1 | version of the frame format, {MAGIC[3]} |" in TEXT
    assert f"| {HEADER_BYTES} | .. | body |" in TEXT
    for codec in CODECS:
        row = re.search(rf"\| `{codec.label}` \| [^|]* \| ([\d.]+) \|", TEXT)
        assert row is not None, f"{codec.label} is not described"
        assert float(row[1]) == round(frame_bytes(codec, 2**20) / 2**20, 3)
