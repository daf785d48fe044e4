"""Records as a swarm of trainers would publish them, step by step, with a clock of our own. No network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from monitoring.api import Watch
from monitoring.view.document import swarm_document
from monitoring.view.facts import RunFacts
from swarm.records import ProgressRecord
from swarm.trust.identity import Identity

DIGEST = "ab" * 32
PLANNED = {"en": 0.25, "es": 0.2, "hi": 0.15, "ar": 0.15, "sw": 0.1, "zh": 0.15}
STEP_SECONDS = 10.0
SEQUENCE = 256


def facts(**changes: Any) -> RunFacts:
    values: dict[str, Any] = {
        "name": "many-tongues",
        "digest": DIGEST,
        "steps": 2000,
        "global_batch": 256,
        "sequence_length": SEQUENCE,
        "checkpoint_every": 8,
        "validate_every": 20,
        "parameters": 33_600_000,
        "description": "A small BLOOM in six languages, trained by volunteers",
        "planned": PLANNED,
        "sequences": dict.fromkeys(PLANNED, 1000),
        "tokens_per_byte": dict.fromkeys(PLANNED, 0.3),
        "link": f"bloomswarm:{DIGEST}?peer=/ip4/203.0.113.7/tcp/31337/p2p/{Identity.generate().peer_id}",
    }
    return RunFacts(**values | changes)


def trainer(index: int, step: int, peers: int, now: float, **changes: Any) -> ProgressRecord:
    """The record of the index-th of `peers` trainers that have all made `step` steps."""
    each = 256 // peers + 1
    speed = each / STEP_SECONDS * (1 + 0.2 * math.sin(index))
    drop = 4.5 * (1 - math.exp(-step / 400))
    values: dict[str, Any] = {
        "step": step,
        "samples": 0,
        "total_samples": each * step,
        "loss": 9.0 - drop + 0.02 * math.sin(index + step),
        "samples_per_second": speed,
        "tokens_by_language": {code: int(each * SEQUENCE * step * share) for code, share in PLANNED.items()},
        "loss_by_language": {
            code: round(9.2 - drop * (1 - 0.1 * order) + 0.05 * math.sin(step / 3 + order), 4)
            for order, code in enumerate(PLANNED)
        },
        "validation_by_language": {code: round(3.0 - drop / 3 + 0.05 * order, 4) for order, code in enumerate(PLANNED)},
        "validation_step": step // 20 * 20,
        "validation_text": "ab" * 8,
        "state": "training",
        "role": "trainer",
        "version": "0.1.0",
        "clock": now,
        "started": 1000.0,
        "lineage": "11" * 8,
        "head": f"{step:016x}",
        "state_digest": f"{step:016x}",
        "digest_step": step,
        "rounds": {"committed": step, "timeout": step // 40},
        "round_seconds": 1.2,
        "checkpoint_step": step // 8 * 8,
        "checkpoint_time": now - 30,
        "disk_free_bytes": 80_000_000_000,
        "memory_bytes": 900_000_000,
        "energy_joules": {"cpu": step * 250.0, "memory": step * 50.0},
        "carbon_grams": step * 0.03,
    }
    return ProgressRecord(**values | changes)


@dataclass
class Pretend:
    """peers: trainers by index, besides a seed. change: the last word on a trainer's record."""

    peers: int = 6
    change: dict[int, Callable[[int, float], dict[str, Any]]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    seeds: bool = True
    now: float = 1_700_000_000.0
    step: int = 100

    def __post_init__(self) -> None:
        self.ids = [Identity.generate().peer_id for _ in range(self.peers)]
        self.seed = Identity.generate().peer_id
        self.watch = Watch(facts(), clock=lambda: self.now)

    def record(self, index: int) -> ProgressRecord:
        record = trainer(index, self.step, self.peers, self.now)
        changes = self.change.get(index, lambda *_: {})(self.step, self.now)
        return ProgressRecord.from_bytes(record.model_copy(update=changes).to_bytes())

    def records(self) -> dict[str, ProgressRecord]:
        found = {self.ids[index]: self.record(index) for index in range(self.peers) if index not in self.gone}
        if self.seeds:
            found[self.seed] = ProgressRecord(step=0, state="serving", role="seed", version="0.1.0", clock=self.now)
        return found

    def run(self, steps: int, *, moving: bool = True, rejected: dict[str, int] | None = None) -> Pretend:
        """`steps` looks, one a step."""
        for _ in range(steps):
            self.now += STEP_SECONDS
            self.step += moving
            self.watch.look(self.records(), rejected)
        return self

    def problems(self) -> dict[str, tuple[str, ...]]:
        """Slug -> the peers concerned."""
        return {each.problem.slug: each.peers for each in self.watch.read(lambda view, now, found: found)}


def document(swarm: Pretend) -> dict[str, Any]:
    return swarm.watch.read(swarm_document)
