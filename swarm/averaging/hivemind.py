"""hivemind's own averaging behind our seam: its matchmaking and all-reduce, 8 bits blockwise. The baseline to beat.

hivemind runs its averager in a forked process that ignores Ctrl+C and outlives a crash. Here its pieces run in the
event loop of our network, on our daemon, and its matchmaking reads and writes our signed records.

**Proof.** With some versions of numpy hivemind's codecs fail silently: the round "finishes" and nothing was averaged.
So a second tensor travels with the vector, whose mean everybody can compute from who was in the group and with what
weight; and no part of either may come back bit for bit as it was given. Otherwise the round counts as missed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import torch
from hivemind.averaging import DecentralizedAverager
from hivemind.averaging.control import StepControl
from hivemind.averaging.matchmaking import Matchmaking
from hivemind.compression import BlockwiseQuantization
from hivemind.p2p import PeerID
from hivemind.utils import MPFuture, get_dht_time
from hivemind.utils.timed_storage import ValueWithExpiration

from swarm.averaging.averager import Averaged, Contribution, Member, Missed, Outcome, RoundStats
from swarm.averaging.mean import FloatMean
from swarm.errors import NetworkError
from swarm.network.host import Network
from swarm.records import ProgressRecord
from swarm.run.manifest import Manifest

KIND = "averaging"
PREFIX = "bloomswarm"
CANARY_VALUES = 1024
CANARY_TOLERANCE = 1e-3
PROOF_VALUES = 2**16  # a part of this many values never comes back unchanged
WINDOW_SECONDS = 1.5  # in which hivemind waits for a group to form
PATIENCE_SECONDS = 20.0
RECORD_SECONDS = 60.0
ABANDON_SECONDS = 0.5


class HivemindAverager:
    """`Averager` over hivemind's all-reduce. progress: the records of all live trainers."""

    def __init__(
        self, network: Network, manifest: Manifest, size: int, *, progress: Callable[[], Mapping[str, ProgressRecord]]
    ) -> None:
        self.network, self.progress, self.size = network, progress, size
        self.training, self.span_size = manifest.training, manifest.averaging.span_size
        self.members: tuple[Member, ...] = ()
        self.closed = False
        torch.multiprocessing.set_sharing_strategy("file_descriptor")  # hivemind's choice leaves a process behind
        self.vector, self.canary = torch.zeros(size), torch.zeros(CANARY_VALUES)
        self.inner = _Inner([self.vector, self.canary], _Matches(network))
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # matchmaking drops tasks, and each would be told
        network.run(self.inner.begin(), 30.0)

    def amend(self, training: object) -> None:
        """Such a run cannot be amended: `peers.commands.amend` refuses."""

    def due(self, step: int, samples: int) -> bool:
        """Whether the batch is full by what all peers of this step tell, or the swarm is ahead of us."""
        if self.closed:
            return True
        others = self._others()
        if any(record.step > step for record in others.values()):
            return True
        wanted = self.training.samples_due(1 + len(others))
        told = sum(min(record.samples, wanted) for record in others.values() if record.step == step)
        return samples > 0 and samples + told >= wanted

    def average(self, step: int, contribution: Contribution) -> Outcome:
        """One round of hivemind's. Alone: the contribution itself is the mean."""
        began = time.perf_counter()
        before = self._bytes()
        others = self._others()
        if self.closed:
            return Missed(step, "leaving")
        if any(record.step > step for record in others.values()):
            return Missed(step, "behind: the swarm is at a later step", behind=True)
        if contribution.samples == 0:
            return Missed(step, "empty: nothing to give")
        if not others:
            self.members = (Member(self.network.peer_id, contribution.samples, contribution.weight),)
            mean = FloatMean(contribution.vector, self.span_size)
            return Averaged(step, mean, self.members, stats=RoundStats(time.perf_counter() - began))
        reason = self._round(step, contribution)
        sent, received = self._bytes()
        stats = RoundStats(time.perf_counter() - began, sent - before[0], received - before[1])
        if reason is not None:
            return Missed(step, reason, stats=stats)
        return Averaged(step, FloatMean(self.vector.numpy().copy(), self.span_size), self.members, stats=stats)

    def roster(self) -> tuple[str, ...]:
        return tuple(member.peer_id for member in self.members)

    def close(self) -> None:
        """Give up what is under way. The network belongs to its owner and stays."""
        if not self.closed:
            self.closed = True
            try:
                self.network.run(self.inner.end(), 5.0)
            except NetworkError:
                return  # the network is gone, and with it all that could be ended

    def _round(self, step: int, contribution: Contribution) -> str | None:
        """Average in place; the reason where that did not happen."""
        self.vector.numpy()[:] = contribution.vector
        given = np.full(CANARY_VALUES, canary_of(self.network.peer_id, step), np.float32)
        self.canary.numpy()[:] = given
        gather = {"step": step, "samples": contribution.samples}
        try:
            gathered = self.network.run(self.inner.round(gather, contribution.weight), PATIENCE_SECONDS + 10)
        except NetworkError as error:
            return f"network: {error}"
        if gathered is None:
            return "leaving" if self.closed else "timeout: no group formed, or its all-reduce failed"
        members = group(gathered, step)
        if members is None:
            self.network.reject("message")
            return "invalid: a member of the group told nonsense about itself"
        if len(members) < 2:
            return "timeout: hivemind found no other peer"
        kept = unchanged(self.vector.numpy(), contribution.vector) or unchanged(self.canary.numpy(), given)
        if kept or not averaged(self.canary.numpy(), members, step):  # two canaries may be as near as the tolerance
            return "invalid: hivemind said that it averaged, and the values say that it did not; see docs/decisions.md"
        self.members = members
        return None

    def _others(self) -> dict[str, ProgressRecord]:
        return {peer: record for peer, record in self.progress().items() if peer != self.network.peer_id}

    def _bytes(self) -> tuple[int, int]:
        traffic = self.network.traffic
        return traffic.total("sent", "averaging"), traffic.total("received", "averaging")


def canary_of(peer_id: str, step: int) -> float:
    """What a peer puts into the canary at a step: between 1 and 2, another value for everybody and every step."""
    digest = hashlib.sha256(f"canary 1\n{peer_id}\n{step}".encode()).digest()
    return 1.0 + int.from_bytes(digest[:4], "big") / 2**32


def averaged(canary: np.ndarray, members: tuple[Member, ...], step: int) -> bool:
    """Whether the canary is the weighted mean over these members."""
    total = sum(member.weight for member in members)
    wanted = sum(member.weight * canary_of(member.peer_id, step) for member in members) / total
    return bool(np.abs(canary - wanted).max() < CANARY_TOLERANCE * max(1.0, wanted) * 4)


def unchanged(after: np.ndarray, before: np.ndarray) -> bool:
    """Whether some part came back bit for bit as it was given (parts of zeros prove nothing)."""
    for start in range(0, len(before), PROOF_VALUES):
        part = before[start : start + PROOF_VALUES]
        if part.any() and np.array_equal(part, after[start : start + PROOF_VALUES]):
            return True
    return False


def group(gathered: Mapping[PeerID, Any], step: int) -> tuple[Member, ...] | None:
    """The members by peer id, from what strangers say of themselves; None where one of them talks nonsense."""
    members = []
    for peer, told in gathered.items():
        samples = told.get("samples") if isinstance(told, dict) else None
        if not isinstance(samples, int) or isinstance(samples, bool) or not 0 < samples < 2**31:
            return None
        if told.get("step") != step:
            return None
        members.append(Member(str(peer), samples, float(samples)))
    return tuple(sorted(members, key=lambda member: member.peer_id))


class _Matches:
    """What hivemind's matchmaking asks of its `DHT`, answered from our signed records: who is looking for a group."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.peer_id = PeerID.from_base58(network.peer_id)
        self.client_mode = network.client

    async def store(
        self, key: str, value: bool, expiration_time: float, subkey: bytes, return_future: bool = True
    ) -> bool:
        payload = msgpack.packb([bool(value), float(expiration_time)])
        return await self.network.directory.publish(KIND, payload, RECORD_SECONDS)

    async def get(self, key: str, latest: bool = True, return_future: bool = True) -> Any:
        found = {}
        for record in await self.network.directory.read(KIND):
            try:
                looking, expiration = msgpack.unpackb(record.payload)
                valid = isinstance(looking, bool) and isinstance(expiration, float)
            except (ValueError, TypeError, msgpack.exceptions.UnpackException):
                valid = False
            if not valid:
                self.network.reject("record")
            elif expiration > get_dht_time():
                peer = PeerID.from_base58(record.peer_id).to_bytes()
                found[peer] = ValueWithExpiration(looking, expiration)
        return SimpleNamespace(value=found)


class _Inner(DecentralizedAverager):
    """hivemind's averager without its process: the same coroutines, in the network's loop."""

    def __init__(self, tensors: list[torch.Tensor], matches: _Matches) -> None:
        super().__init__(
            tensors,
            matches,
            start=False,
            prefix=PREFIX,
            min_matchmaking_time=WINDOW_SECONDS,
            request_timeout=1.0,
            next_chunk_timeout=5.0,
            allreduce_timeout=PATIENCE_SECONDS,
            compression=BlockwiseQuantization(),
            bandwidth=1.0,
            allow_state_sharing=False,
            client_mode=matches.client_mode,
        )
        self.network = matches.network
        self.control: StepControl | None = None

    async def begin(self) -> None:
        self._p2p = self.network.p2p
        if not self.client_mode:
            await self.add_p2p_handlers(self._p2p, namespace=self.prefix)
        self._matchmaking = Matchmaking(
            self._p2p, self.schema_hash, self.dht, client_mode=self.client_mode, **self.matchmaking_kwargs
        )
        self._state_updated, self._pending_groups_registered = asyncio.Event(), asyncio.Event()
        self._pending_groups_registered.set()

    async def round(self, gather: dict[str, int], weight: float) -> Mapping[PeerID, Any] | None:
        """What the members of the group told, once the tensors hold their mean; None where no round came about."""
        now = get_dht_time()
        told = self.serializer.dumps([self.bandwidth, self.mode.value, self.serializer.dumps(gather)])
        control = StepControl(
            scheduled_time=now + WINDOW_SECONDS,
            deadline=now + PATIENCE_SECONDS,
            allow_retries=True,
            weight=weight,
            data_for_gather=told,
        )
        ready: Any = MPFuture()
        step = asyncio.ensure_future(self._step(step=control, future_for_init=ready))
        await ready  # `_step` has attached trigger and cancel to `control` itself
        control.allow_allreduce()
        self.control = control
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await control
        except Exception as error:  # hivemind raises a dozen types for a group that did not come about
            self.network.reject("message" if "Invalid" in type(error).__name__ else "other")
            return None
        finally:
            self.control = None
            if not control.done():
                control.cancel()
            step.cancel()
            await asyncio.wait({step}, timeout=ABANDON_SECONDS)  # its own cleaning up may wait for peers that left

    async def end(self) -> None:
        if self.control is not None and not self.control.done():
            self.control.cancel()
        if not self.client_mode:
            await self.remove_p2p_handlers(self._p2p, namespace=self.prefix)

    def __del__(self) -> None:
        """hivemind's would look for a process to end."""
