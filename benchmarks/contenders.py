"""The two that are compared, as peers of a `Fleet`: this project's round, and hivemind 1.1.12's own averager.

hivemind's runs in its own forked process, as it is meant to be used. Nothing is shared between them but the machine.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 2**18
POLL_SECONDS = 0.002  # between two looks at a round, of either: looking takes processor time from the round


class Ours:
    def __init__(
        self, index: int, count: int, addresses: Sequence[str], *, values: int, folder: str, direct: bool = True
    ) -> None:
        import numpy as np

        from benchmarks.run import layout_of, manifest_of
        from swarm import compiled
        from swarm.averaging.live.averager import RoundAverager
        from swarm.averaging.live.start import Start, Surroundings
        from swarm.heap import keep_freed_memory
        from swarm.network.host import Network
        from swarm.trust.identity import Identity
        from swarm.update.golden import require_golden

        keep_freed_memory()  # as a peer does, all three; the last after its first commit
        require_golden()
        compiled.ready()
        self.index, self.count = index, count
        manifest = manifest_of(values, count)
        network = Network(Identity.generate(), manifest.digest, initial_peers=addresses, direct=direct)
        self.network = network.start()
        self.received = 0
        self.network.receive("floor", self._take, limit_bytes=MESSAGE_BYTES, direct=True)
        self.vector = contribution(values, index)
        self.alive: dict = {}
        self.averager = RoundAverager(
            self.network,
            manifest,
            layout_of(values),
            span_digests=lambda spans: [hashlib.sha256(b"%d" % span).digest() for span in spans],
            root=lambda digests: hashlib.sha256(b"".join(digests)).digest(),
            start=Start.genesis(manifest, Path(folder) / str(index)),
            surroundings=Surroundings(lambda: self.alive, wait_for=count),
        )
        self.step, self.last = 0, np.empty(0, np.float32)

    def addresses(self) -> list[str]:
        return self.network.addresses()

    def meet(self, peers: list[str]) -> None:
        from swarm.records import ProgressRecord

        record = ProgressRecord(step=0, state="training", role="trainer", version="0.1.0")
        self.alive = dict.fromkeys(peers, record)

    def name(self) -> dict[str, Any]:
        return {"peer": self.network.peer_id}

    def round(self, check: bool = False, delays: Sequence[float] = ()) -> dict[str, Any]:
        """From having something to give to holding the mean, with everything between."""
        from swarm.averaging.averager import Averaged, Contribution

        time.sleep(delays[self.index] if delays else 0.0)
        while not self.averager.due(self.step, 1):
            time.sleep(POLL_SECONDS)
        outcome = self.averager.average(self.step, Contribution(self.vector, 1.0, 1))
        ended = time.monotonic()
        assert isinstance(outcome, Averaged), outcome
        self.step += 1
        figures = self.averager.figures
        answer: dict[str, Any] = {
            "ended": ended,
            "members": sum(member.samples > 0 for member in outcome.roster),
            "void": outcome.stats.void_spans,
            "ready_at": figures.ready_at,
            "applied_at": figures.applied_at,
            "sent": outcome.stats.bytes_sent,
            "received": outcome.stats.bytes_received,
        }
        if check:
            answer |= self._check(outcome.mean)
        return answer

    def _check(self, mean) -> dict[str, Any]:
        """Digest of the mean, and its relative distance from the true one."""
        import numpy as np

        hasher, lost, norm = hashlib.sha256(), 0.0, 0.0
        for span, values in mean.spans():
            if values is None:
                hasher.update(b"void")
                continue
            hasher.update(values.data)
            wanted = true_mean(mean.size, self.count, span)
            lost += float(np.square(wanted - values).sum())
            norm += float(np.square(wanted).sum())
        return {"digest": hasher.hexdigest(), "error": (lost / norm) ** 0.5}

    async def _take(self, peer: str, message: bytearray) -> None:
        self.received += len(message)

    def floor(self, peers: list[str], each_bytes: int, direct: bool) -> dict[str, Any]:
        """Send `each_bytes` to every other peer, all at once, and wait until they have them. direct: see `Direct`."""
        import asyncio

        others = [peer for peer in peers if peer != self.network.peer_id]
        message = bytes(MESSAGE_BYTES)

        async def send(peer: str) -> None:
            found = await self.network.streams.open_direct(peer, "floor") if direct else None
            channel = found or await self.network.streams.open(peer, "floor")
            for start in range(0, each_bytes, MESSAGE_BYTES):
                await channel.send(message[: each_bytes - start])
            await channel.close(60)

        async def all_at_once() -> None:
            await asyncio.gather(*map(send, others))

        self.network.run(all_at_once(), 120)
        return {"sent": each_bytes * len(others)}

    def memory(self, reset: bool) -> dict[str, Any]:
        """Peak resident bytes since the last reset, of this process and of its daemon."""
        import psutil

        daemon = next(child.pid for child in psutil.Process().children() if "p2pd" in child.name())
        result = {name: peak(pid) for name, pid in (("process", os.getpid()), ("daemon", daemon))}
        if reset:
            for pid in (os.getpid(), daemon):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            return {name: peak(pid) for name, pid in (("process", os.getpid()), ("daemon", daemon))}
        return result

    def close(self) -> None:
        self.averager.close()
        self.network.close()


class Hivemind:
    """hivemind's DecentralizedAverager with its 8-bit blockwise codec, a group of all peers, in its own process."""

    def __init__(
        self,
        index: int,
        count: int,
        addresses: Sequence[str],
        *,
        values: int,
        window: float,
        known: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        """known: it is told how many peers there are, so that it need not wait for more. host: where it listens."""
        import logging

        import hivemind
        import torch
        from hivemind.compression import BlockwiseQuantization

        multiprocessing.set_start_method("fork", force=True)  # hivemind's processes, as it starts them by itself
        logging.getLogger("hivemind").setLevel(logging.ERROR)
        self.index, self.count = index, count
        self.vector = torch.from_numpy(contribution(values, index))
        self.dht = hivemind.DHT(start=True, initial_peers=list(addresses), host_maddrs=[f"/ip4/{host}/tcp/0"])
        self.averager = hivemind.DecentralizedAverager(
            [torch.from_numpy(self.vector.numpy().copy())],  # a copy by torch's threads would hang the forked process
            self.dht,
            prefix="benchmark",
            start=True,
            target_group_size=count if known else None,
            min_matchmaking_time=window,
            compression=BlockwiseQuantization(),
            request_timeout=1.0,
        )

    def addresses(self) -> list[str]:
        return [str(address) for address in self.dht.get_visible_maddrs()]

    def round(self, check: bool = False, delays: Sequence[float] = (), timeout: float = 60.0) -> dict[str, Any]:
        """One averaging round; `reduced` seconds are those of its all-reduce alone."""
        from hivemind.averaging.control import AveragingStage

        time.sleep(delays[self.index] if delays else 0.0)
        with self.averager.get_tensors() as tensors:
            tensors[0].copy_(self.vector)
        began = time.monotonic()
        control = self.averager.step(wait=False, timeout=timeout)
        running = 0.0
        while not control.done():
            if not running and control.stage == AveragingStage.RUNNING_ALLREDUCE:
                running = time.monotonic()
            time.sleep(POLL_SECONDS)
        ended = time.monotonic()
        gathered = control.result()
        answer = {"ended": ended, "members": len(gathered or ()), "copy_seconds": began, "running": running or began}
        if check:
            with self.averager.get_tensors() as tensors:
                answer |= self._check(tensors[0].numpy())
        return answer

    def _check(self, values) -> dict[str, Any]:
        import numpy as np

        wanted = true_mean(len(values), self.count, slice(0, len(values)))
        digest = hashlib.sha256(values.data).hexdigest()
        return {"digest": digest, "error": float(np.linalg.norm(values - wanted) / np.linalg.norm(wanted))}

    def close(self) -> None:
        self.averager.shutdown()
        self.dht.shutdown()


def contribution(values: int, index: int):
    """What peer `index` gives: like a gradient in scale, and known to everybody."""
    import numpy as np

    return np.random.default_rng(index).standard_normal(values, dtype=np.float32) * np.float32(1e-3)


def true_mean(values: int, count: int, span: slice):
    """The exact mean of all contributions in a span."""
    import numpy as np

    cached = _MEANS.get((values, count))
    if cached is None:
        cached = np.zeros(values, np.float64)
        for index in range(count):
            cached += contribution(values, index)
        cached = _MEANS[values, count] = (cached / count).astype(np.float32)
    return cached[span]


_MEANS: dict = {}


def peak(pid: int) -> int:
    """Peak resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise AssertionError("the kernel tells no VmHWM")
