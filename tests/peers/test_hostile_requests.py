"""Every handler with which a peer serves others, given what nobody should send: refused in words, and nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import peers
import swarm
from peers.finding.arrival import offer
from peers.owner.amendments import Amendments
from peers.state.checkpoint_donor import PIECE_BYTES, REQUEST, TABLE, CheckpointDonor
from peers.state.donor import Donor
from peers.state.endorsements import Endorsements
from peers.state.evidence import REQUEST as GIFT
from peers.state.evidence import EvidenceDonor
from swarm.averaging.live.journal import Journal
from swarm.averaging.live.store import Store
from swarm.digest import content_digest
from swarm.network.blobs import REQUEST as BLOB
from swarm.network.blobs import Blobs
from swarm.network.failure import RefusedError
from swarm.network.guard import Guard, admit_only
from swarm.network.reach import HANDLER as REACH
from swarm.network.reach import Reach
from swarm.network.serving import Handler
from swarm.network.sounding import HANDLER as SOUNDING
from swarm.network.sounding import Sounding
from swarm.run.manifest import SignedManifest
from swarm.trust.admission import Admission
from tests.peers import state_swarm as tools

MOST_BYTES = 5 << 20  # of an answer
SECRET = b"what strangers are not given"
FROM_HERE = {"round-control", "round-bulk"}  # one-way: fuzzed in tests/swarm/averaging


class Registry:
    """In place of a network: keeps what is registered with it."""

    peer_id = "me"

    def __init__(self) -> None:
        self.handlers: dict[str, tuple[Handler, int]] = {}
        self.streams = SimpleNamespace(handle=self._handle, serving=SimpleNamespace(door=None))
        self.guard: Guard | None = None
        self.blobs = Blobs(self.streams)  # type: ignore[arg-type]
        self.serve, self.withdraw = self.blobs.serve, self.blobs.withdraw

    def handle(self, name: str, handler: Handler, *, limit_bytes: int, **more: Any) -> None:
        assert limit_bytes <= 2 << 20, f"{name} takes {limit_bytes} bytes of a stranger at once"
        self.handlers[name] = (handler, limit_bytes)

    async def _handle(self, name: str, handler: Handler, *, limit_bytes: int, **more: Any) -> None:
        self.handle(name, handler, limit_bytes=limit_bytes, **more)

    def reject(self, reason: str) -> None: ...


async def connections() -> list[tuple[str, str]]:
    return [("stranger", "/ip4/127.0.0.1/tcp/1")]


@pytest.fixture(scope="module")
def signed() -> SignedManifest:
    return tools.signed_run()


@pytest.fixture(scope="module")
def registry(signed: SignedManifest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """All handlers of a peer that has a checkpoint, a gift, a mean and a blob to give."""
    folder, made = tmp_path_factory.mktemp("peer"), Registry()
    tools.keep(folder, tools.some_state(signed.manifest), signed)
    for place in ("secret", "sent/secret", "log/means/secret", "checkpoints/secret"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(SECRET)
    (folder / "sent" / "step-00000008.sent").write_bytes(bytes(1000))
    mean = bytes(5000)
    (folder / "log" / "means" / content_digest(mean).hex()).write_bytes(mean)
    network: Any = made
    asyncio.run(made.blobs.start())
    driver = SimpleNamespace(
        journal=Journal(folder / "log" / "log"),
        means=Store(folder / "log" / "means"),
        core=SimpleNamespace(log=SimpleNamespace(tip=SimpleNamespace(round=8))),
    )
    terms = SimpleNamespace(policy=SimpleNamespace(vector_bytes=5000))
    averager: Any = SimpleNamespace(driver=driver, terms=terms)
    offer(network, with_tokenizer(signed), b"{}", None)
    CheckpointDonor(network, signed.manifest, folder / "checkpoints")
    EvidenceDonor(network, averager, folder / "sent")
    Donor(network, lambda: (8, b"state"), lambda: 8)
    Endorsements(folder, signed.manifest).serve(network)
    Amendments(folder, signed.manifest).serve(network)
    made.handle(SOUNDING, Sounding().answer, limit_bytes=4)
    made.handle(REACH, Reach(connections).answer, limit_bytes=1024)
    admit_only(network, Admission(signed.digest, signed.manifest.owner))
    yield made
    driver.journal.close()


def with_tokenizer(signed: SignedManifest) -> Any:
    """The manifest as it is, but that its tokenizer's digest is that of the bytes that are served."""
    from swarm.canonical import digest

    tokenizer = SimpleNamespace(digest=digest(b"{}"))
    return SimpleNamespace(to_json=signed.to_json, manifest=SimpleNamespace(tokenizer=tokenizer, model=None))


def registered() -> set[str]:
    """The modules in which a handler is registered."""
    found = set()
    for package in (peers, swarm):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            if re.search(r"\.(handle|receive)\([^)]*limit_bytes=", path.read_text(encoding="utf-8")):
                found.add(path.stem)
    return found


def test_no_handler_is_left_out(registry: Registry) -> None:
    """A module that registers another one is to be added to the fixture above, and to docs/protocol.md."""
    here = {handler.__module__.rpartition(".")[2] for handler, _ in registry.handlers.values()}
    passing_on = {"host", "streams", "engine", "averager"}  # the way to the registry; the last has FROM_HERE
    assert registered() - passing_on <= here
    assert len(registry.handlers) == 13, sorted(registry.handlers)


def requests(name: str, limit: int) -> Iterator[bytes]:
    """Too short, too long, huge numbers, other people's paths, and noise."""
    noise = random.Random(name)
    yield from (bytes(size) for size in {0, 1, limit - 1, limit})
    yield from (b"\xff" * size for size in {1, 7, min(limit, 64), min(limit, 1000)})
    for text in (b"../secret", b"/etc/passwd", b"[" * 1000, b'{"a":', b"[1e999]", b'["\\ud800"]', b"[4001.5]", b"\xc1"):
        yield text[:limit]
    for _ in range(50):
        yield noise.randbytes(noise.randrange(min(limit, 100) + 1))
    for form in (REQUEST, BLOB, GIFT):
        if form.size <= limit:
            for _ in range(50):
                yield noise.randbytes(form.size)


async def outcome(handler: Handler, request: bytes) -> bytes | None:
    """None where it was refused. Everything else that is raised is a traceback in a volunteer's log."""
    try:
        return tools.bytes_of(await handler("stranger", bytearray(request)))
    except RefusedError as refusal:
        return None if "\n" not in str(refusal) else SECRET


def test_every_handler_refuses_nonsense_in_words(registry: Registry) -> None:
    async def all_of_it() -> None:
        for name, (handler, limit) in registry.handlers.items():
            for request in requests(name, limit):
                answer = await outcome(handler, request)
                assert answer is None or len(answer) < MOST_BYTES, name
                assert answer is None or SECRET not in answer, name

    asyncio.run(all_of_it())


HUGE = (0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1)


def test_ranges_beyond_what_is_there_are_empty_or_refused(registry: Registry, signed: SignedManifest) -> None:
    """Of what is there: its digest is right, its offsets and lengths are not."""
    root = bytes.fromhex(tools.some_state(signed.manifest).digest())
    from swarm.canonical import digest

    blob = bytes.fromhex(digest(b"{}"))
    cases = {
        "state-spans": [
            REQUEST.pack(root, span, at, size)
            for span in (0, 1, 10**6, TABLE - 1, TABLE)
            for at in HUGE
            for size in (0, 2**32 - 1)
        ],
        "blob": [BLOB.pack(blob, at, size) for at in HUGE for size in (0, 2**32 - 1)],
        "round-gifts": [GIFT.pack(step, at, 2**32 - 1) for step in (8, 9, 2**64 - 1) for at in HUGE],
    }

    async def all_of_it() -> None:
        for name, asked in cases.items():
            answers = [await outcome(registry.handlers[name][0], request) for request in asked]
            assert any(answers), f"{name}: some of it is there"
            assert all(answer is None or len(answer) <= PIECE_BYTES for answer in answers), name

    asyncio.run(all_of_it())


def test_a_blob_on_disk_is_read_within_its_bounds_and_comes_back(tmp_path: Path) -> None:
    """A file that cannot be read for a moment is not forgotten: nobody would ever get it again."""
    registry, path, content = Registry(), tmp_path / "weights", os.urandom(3000)
    path.write_bytes(content)
    from swarm.canonical import digest

    registry.serve(digest(content), path)

    async def asked(at: int, size: int) -> bytes | None:
        request = BLOB.pack(bytes.fromhex(digest(content)), at, size)
        return await outcome(registry.blobs._answer, request)

    async def all_of_it() -> None:
        size = struct.pack(">Q", 3000)
        assert await asked(1000, 10) == size + content[1000:1010]
        assert [await asked(at, 10) for at in (3000, 2**63, 2**64 - 1)] == [size] * 3
        path.rename(tmp_path / "away")
        path.mkdir()
        assert await asked(0, 10) is None
        path.rmdir()
        (tmp_path / "away").rename(path)
        assert await asked(0, 10) == size + content[:10]

    asyncio.run(all_of_it())
