"""Donors and a taker of a state, each a process of its own: what a download takes beside what the transport gives.

Process 0 takes, the others give. What the log would certify is told to the taker: no rounds are held.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1 << 20
HEAD = bytes(31) + b"\x01"


def run_of(layers: int, hidden: int = 512, vocabulary: int = 4096) -> Any:
    """A signed run of a model of this size: 9 layers of 512 with 4,096 tokens are 30.5M parameters."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from benchmarks.run import manifest_of
    from swarm.run.manifest import SignedManifest
    from swarm.trust.identity import Identity

    owner = Identity(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))  # the same run in every process
    model = {"vocab_size": vocabulary, "hidden_size": hidden, "layers": layers, "heads": 8}
    manifest = manifest_of(2**22, 4)
    size = manifest.model.model_copy(update=model)
    averaging = manifest.averaging.model_copy(update={"span_size": 2**18})
    run = manifest.model_copy(update={"model": size, "averaging": averaging, "owner": owner.peer_id})
    return SignedManifest.sign(run, owner)


def keep_state(folder: Path, signed: Any) -> tuple[str, int]:
    """A checkpoint with a state of this run, for all donors; its root and bytes."""
    import numpy as np

    from swarm.state.checkpoint import save
    from swarm.state.shared import SharedState

    state, numbers = SharedState.empty(signed.manifest, 8, 64), np.random.default_rng(1)
    for vector in state.vectors:
        vector[:] = np.abs(numbers.standard_normal(vector.size, dtype=np.float32))
    save(folder / "checkpoints", state, manifest=signed, tokenizer=b"{}", cursor={}, log_head=HEAD.hex())
    return state.digest(), sum(vector.nbytes for vector in state.vectors)


class Believed:
    """What a log would say."""

    def __init__(self, manifest: Any, root: str) -> None:
        from swarm.averaging.live.terms import terms_of
        from swarm.model.layout import Layout

        self.manifest, self.root = manifest, root
        self.terms = terms_of(manifest, Layout.of(manifest.model).size)

    def oldest(self) -> int:
        return 0

    def wanted(self) -> list[Any]:
        from swarm.averaging.live.positions import CertifiedState

        return [CertifiedState(HEAD, 8, bytes.fromhex(self.root))]

    def position(self) -> Any:
        from swarm.averaging.round.certificate import genesis

        return genesis(bytes.fromhex(self.manifest.digest))


class Silent:
    def downloading(self, done: int, total: int, donors: int) -> None:
        """Nobody watches."""

    def gave_up(self, donor: str, reason: str, detail: str) -> None:
        raise AssertionError(f"{donor} was given up: {reason}, {detail}")


class Donation:
    """One process of the fleet: see above."""

    def __init__(
        self,
        index: int,
        count: int,
        addresses: Sequence[str],
        *,
        folder: str,
        layers: int,
        root: str,
        upload_mbit: float | None = None,
    ) -> None:
        from peers.state.checkpoint_donor import CheckpointDonor
        from swarm.heap import keep_freed_memory
        from swarm.network.caps import Caps
        from swarm.network.host import Network
        from swarm.state.shared import SharedState
        from swarm.trust.identity import Identity

        keep_freed_memory()  # as a peer does
        self.index, self.folder = index, Path(folder)
        manifest = run_of(layers).manifest
        self.network = Network(
            Identity.generate(),
            manifest.digest,
            initial_peers=addresses,
            caps=Caps(upload_mbit if index else None),
        ).start()
        if index:
            CheckpointDonor(self.network, manifest, self.folder / "checkpoints")
        else:
            self.state = SharedState.empty(manifest, 0, 0)
            for vector in self.state.vectors:
                vector.fill(0.0)
            self.manifest, self.believed = manifest, Believed(manifest, root)
            self.network.receive("floor", self._drop, limit_bytes=MESSAGE_BYTES)

    async def _drop(self, peer: str, message: bytearray) -> None:
        """The transport's figure is without anything done to the bytes."""

    def addresses(self) -> list[str]:
        return self.network.addresses()

    def name(self) -> dict[str, Any]:
        return {"peer": self.network.peer_id}

    def push(self, taker: str, each_bytes: int, donors: int) -> dict[str, Any]:
        """The first `donors` send so much to the taker, as one stream each."""
        if not 1 <= self.index <= donors:
            return {}
        message = bytes(MESSAGE_BYTES)

        async def send() -> None:
            channel = await self.network.streams.open(taker, "floor")
            for start in range(0, each_bytes, MESSAGE_BYTES):
                await channel.send(message[: each_bytes - start])
            await channel.close(60)

        self.network.run(send(), 300)
        return {}

    def take(self, donors: list[str]) -> dict[str, Any]:
        """From having nothing to holding the whole state, checked, in memory."""
        if self.index:
            return {}
        from peers.state.certified import StateFetcher

        self.state.step = 0
        place = self.folder / f"taker-{time.monotonic_ns()}"
        fetcher = StateFetcher(self.network, self.manifest, self.believed, place, watch=Silent())  # type: ignore[arg-type]
        memory = peak_growth()
        began = time.monotonic()
        fetcher.fetch(donors, self.state, lambda: self.state)
        return {"seconds": time.monotonic() - began, "memory": memory()}

    def check(self) -> dict[str, Any]:
        """That what was taken is the whole state; outside of what is timed."""
        assert self.index or self.state.digest() == self.believed.root
        return {}

    def close(self) -> None:
        self.network.close()


def peak_growth() -> Any:
    """Call the result to learn how far resident memory has risen since, at its peak."""
    import os

    from benchmarks.contenders import peak

    Path("/proc/self/clear_refs").write_text("5")
    before = peak(os.getpid())
    return lambda: peak(os.getpid()) - before
