"""Peers for tests of how a state is taken: real networks on loopback, checkpoints on disk, donors sound and damaged."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from peers.state.certified import StateFetcher
from peers.state.checkpoint_donor import PURPOSE, REQUEST, TABLE, CheckpointDonor
from peers.state.pin import Pin
from swarm.averaging.averager import Averaged, Missed, Outcome
from swarm.averaging.live.positions import CertifiedState
from swarm.averaging.live.terms import terms_of
from swarm.averaging.round.certificate import Position, genesis
from swarm.network.file_part import FilePart
from swarm.network.host import Network
from swarm.network.pipe import Buffer
from swarm.network.streams import RefusedError
from swarm.run.manifest import LanguageStock, Manifest, SignedManifest, parse_config, resolve
from swarm.state.checkpoint import save
from swarm.state.shared import SharedState
from swarm.trust.identity import Identity
from tests.swarm.averaging.live.trainees import Trainee

EVERY = 4  # steps from one checkpoint to the next
HEAD = bytes(31) + b"\x07"


def signed_run(hidden: int = 32, layers: int = 1, span_size: int = 4096, mode: str = "gradient") -> SignedManifest:
    owner = Identity.generate()
    # fmt: off
    values = {
        "name": "test",
        "model": {"vocab_size": 1024, "hidden_size": hidden, "layers": layers, "heads": 2, "sequence_length": 16},
        "data": {"sources": [{"kind": "starter", "licence": "CC0-1.0"}]},
        "training": {
            "steps": 10_000, "global_batch": 8, "checkpoint_every": EVERY, "mode": mode,
            "local": {"inner_steps": 1, "inner_batch": 3},
        },
        "averaging": {"algorithm": "round", "span_size": span_size},
    }
    # fmt: on
    stock = {"en": LanguageStock(documents=1, text_bytes=1, tokens=100, sequences=6, digest="0" * 64)}
    config = parse_config(values, "test")
    created = {"owner": owner.peer_id, "created": "2026-01-31"}
    manifest = resolve(config, tokenizer_digest="1" * 64, initial_digest="2" * 64, stock=stock, **created)
    return SignedManifest.sign(manifest, owner)


def some_state(run: Manifest, step: int = 8, seed: int = 5) -> SharedState:
    """Any state that could be one of this run's: every vector full of other numbers."""
    state, numbers = SharedState.empty(run, step, 8 * step), np.random.default_rng(seed)
    for vector in state.vectors:
        vector[:] = np.abs(numbers.standard_normal(vector.size, dtype=np.float32))
    return state


def keep(folder: Path, state: SharedState, signed: SignedManifest, head: bytes = HEAD) -> Path:
    """A checkpoint of this state in a peer's folder."""
    return save(
        folder / "checkpoints", state, manifest=signed, tokenizer=b"{}", cursor={}, log_head=head.hex(), keep=3
    )  # fmt: skip


@dataclass
class Watched:
    """A `Watch` that remembers."""

    told: list[tuple[int, int, int]] = field(default_factory=list)
    given_up: dict[str, str] = field(default_factory=dict)

    def downloading(self, done: int, total: int, donors: int) -> None:
        self.told.append((done, total, donors))

    def gave_up(self, donor: str, reason: str, detail: str) -> None:
        self.given_up[donor] = reason


class Certified:
    """In place of an averager, where a test is not about rounds: what its log would say."""

    def __init__(self, run: Manifest, *states: SharedState) -> None:
        self.run = run
        self.terms = terms_of(run, SharedState.empty(run, 0, 0).layout.size)
        self.states = states

    def wanted(self) -> list[CertifiedState]:
        return [CertifiedState(HEAD, state.step, bytes.fromhex(state.digest())) for state in self.states]

    def oldest(self) -> int:
        return 0

    def position(self) -> Position:
        return genesis(bytes.fromhex(self.run.digest))


def fetcher(
    network: Network, run: Manifest, folder: Path, *states: SharedState, pin: Pin | None = None
) -> StateFetcher:
    certified = Certified(run, *states)
    return StateFetcher(network, run, certified, folder, watch=Watched(), pin=pin)  # type: ignore[arg-type]


def received(network: Network) -> int:
    """Bytes of state that came so far."""
    return network.traffic.total("received", PURPOSE)


Damage = Callable[[bytes], "bytes | float | None"]  # of a span's bytes: others, seconds to wait first, or no answer


def bytes_of(answer: Buffer | FilePart) -> bytes:
    """What who asked gets of it."""
    if not isinstance(answer, FilePart):
        return bytes(answer)
    descriptor = answer._file.fileno()
    return b"".join(os.pread(descriptor, size, offset) for offset, size in answer.places)


class DamagedDonor(CheckpointDonor):
    """Gives its table and `sound` pieces as it should; then its damage begins. `gave`: pieces asked of it."""

    def __init__(self, network: Network, run: Manifest, folder: Path, damage: Damage, sound: int = 0) -> None:
        self.damage, self.sound, self.gave = damage, sound, 0
        super().__init__(network, run, folder / "checkpoints")

    async def _give(self, peer_id: str, request: bytearray) -> bytes:
        answer = bytes_of(await super()._give(peer_id, request))
        if REQUEST.unpack(request)[1] == TABLE:
            return answer
        self.gave += 1
        if self.gave <= self.sound:
            return answer
        damaged = self.damage(answer)
        if damaged is None:
            await asyncio.sleep(3600)
        if isinstance(damaged, bytes):
            return damaged
        assert isinstance(damaged, float)
        await asyncio.sleep(damaged)
        return answer


def lie(answer: bytes) -> bytes:
    return answer[:-1] + bytes([answer[-1] ^ 1])


def cut(answer: bytes) -> bytes:
    return answer[: len(answer) // 2]


def stall(answer: bytes) -> None:
    return None


def crawl(answer: bytes) -> float:
    return 1.0


def refuse(answer: bytes) -> bytes:
    raise RefusedError("not today")


class Keeper(Trainee):
    """A trainee that keeps checkpoints, gives them to others, and takes the state where it cannot follow."""

    def __init__(self, network: Network, signed: SignedManifest, name: int, *, alive: dict, folder: Path) -> None:
        super().__init__(network, signed.manifest, name, alive=alive, folder=folder / "log")
        self.signed, self.folder = signed, folder
        self.donor = CheckpointDonor(network, signed.manifest, folder / "checkpoints")
        self.watched, self.caught_up_at = Watched(), []
        self.level: list[tuple[bool, bool]] = []  # after each turn: with the swarm?, and was its contribution in?
        self.fetcher = StateFetcher(network, signed.manifest, self.averager, folder, watch=self.watched)

    def turn(self, samples: int = 4) -> Outcome:
        outcome = super().turn(samples)
        core = self.averager.driver.core
        self.level.append((self.state.step >= core.log.tip.round, isinstance(outcome, Averaged) and outcome.included))
        match outcome:
            case Averaged() if self.state.step % EVERY == 0:
                keep(self.folder, self.state, self.signed, bytes.fromhex(self.averager.head))
            case Missed(behind=True):
                self.catch_up()
        return outcome

    def catch_up(self) -> None:
        start = SharedState.initial(self.run, np.zeros(self.state.layout.size, np.float32))
        try:
            head = self.fetcher.fetch(list(self.alive), self.state, lambda: start)
        except Exception as error:
            self.watched.given_up["everybody"] = str(error)
            self.stopped.wait(0.2)
            return
        if self.averager.restored(head):
            self.caught_up_at.append(self.state.step)
        self.tell()

    def error(self, outcome: Averaged) -> float:
        return 0.0  # a joiner does not know who of the others is which


def main(folder: Path, addresses: list[str]) -> None:
    """A process that takes `some_state` of the run in `folder`, to be killed."""
    signed = SignedManifest.from_json((folder / "manifest.json").read_bytes(), "the test's manifest")
    with Network(Identity.generate(), signed.digest, initial_peers=addresses) as network:
        certified = some_state(signed.manifest)
        taker = fetcher(network, signed.manifest, folder / "joiner", certified)
        taker.fetch(
            [address.rpartition("/")[2] for address in addresses],
            some_state(signed.manifest, step=0, seed=1),
            lambda: certified,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
