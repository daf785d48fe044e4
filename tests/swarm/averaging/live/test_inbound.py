"""What comes from others is measured before it is read, read before it is kept, and refused by name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from swarm.averaging.codec import encode
from swarm.averaging.codec.frame import HEADER_BYTES
from swarm.averaging.codec.frame import seal as seal_frame
from swarm.averaging.live.inbound import MESSAGE, TALLY, Inbound
from swarm.averaging.live.links import HEAD, before_payload
from swarm.averaging.live.store import Store
from swarm.averaging.live.terms import PART_MESSAGE_BYTES, terms_of
from swarm.averaging.round.events import Event, Received
from swarm.averaging.round.messages import Ballot, Header, Mean, Part, seal
from swarm.digest import content_digest
from tests.swarm.averaging.live.trainees import manifest

TERMS = terms_of(manifest(), 10_000)
AT = Header(TERMS.run, bytes(32), 1, bytes(32), Ballot(0, "a", 1), "a", 1)


def frame(size: int = 4096) -> bytes:
    return encode(TERMS.codec, np.random.default_rng(size).standard_normal(size, dtype=np.float32))


def infinite() -> bytes:
    """A frame with the right checksum whose first scale is infinite."""
    whole = np.frombuffer(frame(), np.uint8).copy()
    whole[HEADER_BYTES : HEADER_BYTES + 2] = (0x80, 0x7F)
    return seal_frame(TERMS.codec, 4096, whole)


def packed(payload: bytes, *, span: int = 0, digest: bytes | None = None, kind: type = Part) -> bytearray:
    digest = digest or content_digest(payload)
    message = Part(AT, span, digest, ()) if kind is Part else Mean(AT, span, digest)
    data = seal(message, lambda body: b"").wire
    return bytearray(before_payload(data) + payload)


class Gate:
    """An Inbound, what it let through, and what it counted."""

    def __init__(self) -> None:
        self.fed: list[Event] = []
        self.told: list[object] = []
        self.counts: Counter[str] = Counter()
        self.stores = {"part": Store(None), "mean": Store(None)}

    def run(self, *messages: bytearray, control: bool = False) -> Counter[str]:
        async def all_of_them() -> None:
            inbound = Inbound(
                TERMS,
                self.stores,
                executor,
                self.counts,
                feed=self.fed.append,
                heard=lambda peer, told: self.told.append(told),
                expecting=lambda peer: peer == "a",
            )
            for message in messages:
                take: Coroutine[Any, Any, None] = (inbound.control if control else inbound.bulk)("a", message)
                await take
            await asyncio.gather(*map(asyncio.wrap_future, inbound.checks), return_exceptions=True)

        with ThreadPoolExecutor(1) as executor:
            asyncio.run(all_of_them())
        return self.counts


def test_a_part_comes_through_with_its_norm_and_a_mean_without() -> None:
    gate = Gate()
    assert not gate.run(packed(frame()), packed(frame(), kind=Mean))
    events = [event for event in gate.fed if isinstance(event, Received) and event.held is not None]
    assert [event.held.norm for event in events] == pytest.approx([64.0, 0.0], rel=0.05)  # type: ignore[union-attr]
    digest = content_digest(frame())
    assert digest in gate.stores["part"]
    assert digest in gate.stores["mean"]


BAD = {
    "nothing at all": (bytearray(), "size"),
    "a head that promises too much": (bytearray(HEAD.pack(2**32 - 1)) + packed(frame())[4:], "size"),
    "a message as large as it may not be": (bytearray(HEAD.pack(PART_MESSAGE_BYTES + 1)) + packed(frame())[4:], "size"),
    "a payload of another size": (packed(frame(1000)), "size"),
    "the last span's bytes for the first": (packed(frame(10_000 % 4096)), "size"),
    "a span that there is not": (packed(frame(), span=3), "size"),
    "a frame that is cut off": (packed(frame()[:-1]), "size"),
    "not a number": (packed(infinite()), "bad_frame"),
    "a flipped bit": (packed(frame()[:-1] + bytes([frame()[-1] ^ 1])), "bad_frame"),
    "another's digest": (packed(frame(), digest=bytes(32)), "bad_digest"),
    "no message": (bytearray(before_payload(b"\xc1\xc1\xc1") + frame()), "malformed_format"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_and_counted_by_its_reason(name: str) -> None:
    message, reason = BAD[name]
    gate = Gate()
    assert gate.run(message) == {reason: 1}
    assert not gate.fed
    assert not gate.stores["part"].memory
    assert not gate.stores["mean"].memory


def test_a_strangers_part_is_refused_unread() -> None:
    gate = Gate()

    async def send() -> None:
        inbound = Inbound(
            TERMS, gate.stores, None, gate.counts,  # type: ignore[arg-type]
            feed=gate.fed.append, heard=lambda peer, told: None, expecting=lambda peer: False,
        )  # fmt: skip
        await inbound.bulk("z", packed(frame()))

    asyncio.run(send())
    assert gate.counts == {"stranger_part": 1}


def test_control_messages_are_as_long_as_they_say() -> None:
    gate = Gate()
    data = MESSAGE + b"whatever"
    gate.run(bytearray(HEAD.pack(len(data)) + data), bytearray(HEAD.pack(3) + data), bytearray(b"\0"), control=True)
    assert len(gate.fed) == 1
    assert gate.counts == {"size": 2}
    gate.run(bytearray(HEAD.pack(5) + TALLY + b"none"), control=True)
    assert gate.counts["tally"] == 1
    assert not gate.told
